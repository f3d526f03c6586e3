"""The placement is as small as an exhaustive search finds."""

import random

import pytest

from aidge_quant.memory.overlaps import Overlaps, meet
from aidge_quant.memory.placement import ALIGNMENT, end_of, is_free, lower_bound, place_values
from aidge_quant.memory.values import Access, Value

CASES = range(120)


def drawn(seed: int) -> tuple[list[Value], Overlaps]:
    """Return a few values of a few words, some of which may overlap."""
    generator = random.Random(seed)
    values = []
    for index in range(generator.randint(3, 6)):
        size = ALIGNMENT * generator.randint(1, 4)
        birth = generator.randint(0, 5)
        writes = (Access(birth, 0, size),)
        reads = (Access(birth + generator.randint(0, 3), 0, size),)
        values.append(Value(index, {}, size, writes, reads))
    distances: dict[tuple[int, int], int] = {}
    same: set[tuple[int, int]] = set()
    for front in values:
        for behind in values:
            if front is not behind and front.birth == behind.death and meet(front, behind):
                kind = generator.randint(0, 3)
                if kind == 0:
                    words = generator.randint(-1, front.size // ALIGNMENT - 1)
                    distances[front.index, behind.index] = ALIGNMENT * words
                elif kind == 1:
                    pair = sorted((front.index, behind.index))
                    same.add((pair[0], pair[1]))
    return values, Overlaps(distances, same)


def fits(values: list[Value], overlaps: Overlaps, limit: int) -> bool:
    """Whether any placement on multiples of 4 ends at ``limit`` or before, by trying them all."""

    def place(index: int, offsets: dict[int, int]) -> bool:
        if index == len(values):
            return True
        value = values[index]
        placed = [other for other in values[:index] if meet(value, other)]
        return any(
            all(is_free(value, at, other, offsets[other.index], overlaps) for other in placed)
            and place(index + 1, {**offsets, value.index: at})
            for at in range(0, limit - value.size + 1, ALIGNMENT)
        )

    return place(0, {})


@pytest.mark.parametrize("seed", CASES)
def test_no_placement_is_smaller(seed):
    values, overlaps = drawn(seed)
    offsets = place_values(values, overlaps)
    for value in values:
        for other in values:
            if value is not other and meet(value, other):
                places = offsets[value.index], offsets[other.index]
                assert is_free(value, places[0], other, places[1], overlaps)
    size = end_of(values, offsets)
    assert lower_bound(values, overlaps) <= size
    assert fits(values, overlaps, size)
    assert not fits(values, overlaps, size - ALIGNMENT)


def test_some_of_the_cases_gain_by_overlaps():
    gains = 0
    for seed in CASES:
        values, overlaps = drawn(seed)
        apart = end_of(values, place_values(values, Overlaps({}, set())))
        gains += end_of(values, place_values(values, overlaps)) < apart
    assert gains > len(CASES) / 10
