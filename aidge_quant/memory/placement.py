"""Offsets for values that share one arena: as close together as their lives allow."""

import random
from collections.abc import Iterable, Mapping, Sequence

from aidge_quant.memory.overlaps import Overlaps, bytes_in_use, meet
from aidge_quant.memory.values import Value

ALIGNMENT = 4

# Orders tried beyond the fixed ones are bounded by the square of the number of values: no plan
# takes longer than about a tenth of a second more for it.
EFFORT = 150_000


def aligned(size: int) -> int:
    """Return the next multiple of 4."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def end_of(values: Iterable[Value], offsets: Mapping[int, int]) -> int:
    """Return the first byte behind all values; 0 if there are none."""
    return max((offsets[value.index] + value.size for value in values), default=0)


def lower_bound(values: Sequence[Value], overlaps: Overlaps) -> int:
    """Return the bytes in use at the busiest layer: no placement can take less.

    Of values that may overlap, the most that they can have in common counts once.
    """
    positions = {a.position for value in values for a in (*value.writes, *value.reads)}
    return max((bytes_at(values, overlaps, position) for position in positions), default=0)


def bytes_at(values: Sequence[Value], overlaps: Overlaps, position: int) -> int:
    """Return the bytes in use at the layer at ``position``, at least, as a multiple of 4."""
    alive = {value.index: value for value in values if value.birth <= position <= value.death}
    spans = {index: bytes_in_use(value, position) for index, value in alive.items()}
    shared = 0
    for (front, behind), distance in overlaps.distances.items():
        if front in spans and behind in spans:
            common = min(spans[front], spans[behind], alive[front].size - distance)
            shared += max(0, common)
    for one, other in overlaps.same:
        if one in spans and other in spans:
            shared += min(spans[one], spans[other])
    return aligned(sum(spans.values()) - shared)


def place_values(
    values: Sequence[Value], overlaps: Overlaps, effort: int = EFFORT
) -> dict[int, int]:
    """Return an offset, a multiple of 4, for every value: the best of many greedy orders."""
    if not values:
        return {}
    bound = lower_bound(values, overlaps)
    orders = [
        sorted(values, key=key)
        for key in (
            lambda v: (-v.size, v.birth),
            lambda v: (-v.size, v.birth - v.death, v.birth),
            lambda v: (-v.size * (v.death - v.birth + 1), v.birth),
            lambda v: (v.birth - v.death, -v.size, v.birth),
            lambda v: (v.birth, -v.size),
        )
    ]
    neighbours = {
        value.index: [other for other in values if other is not value and meet(value, other)]
        for value in values
    }
    best_size, best, best_order = -1, {}, orders[0]
    for order in orders:
        offsets = _place_in_order(order, neighbours, overlaps)
        size = aligned(end_of(values, offsets))
        if best_size < 0 or size < best_size:
            best_size, best, best_order = size, offsets, order
    generator = random.Random(0)  # the same network, the same plan
    for _ in range(effort // (len(values) ** 2 + 100) if len(values) > 2 else 0):
        if best_size <= bound:
            break
        order = list(best_order)
        i, j = generator.sample(range(len(order)), 2)
        order.insert(j, order.pop(i))
        offsets = _place_in_order(order, neighbours, overlaps)
        size = aligned(end_of(values, offsets))
        if size <= best_size:
            best_size, best, best_order = size, offsets, order
    return best


def _place_in_order(
    order: Iterable[Value], neighbours: Mapping[int, Sequence[Value]], overlaps: Overlaps
) -> dict[int, int]:
    """Place the values one by one, each where it fits and adds least to what they span together.

    Values are placed on both sides of those before them; in the end the lowest is at 0.
    """
    offsets: dict[int, int] = {}
    low = high = 0
    for value in order:
        size = aligned(value.size)
        placed = [other for other in neighbours[value.index] if other.index in offsets]
        candidates = {low}
        for other in placed:
            start = offsets[other.index]
            candidates.update((start + aligned(other.size), start - size))
            candidates.update(_overlapping(value, other, start, overlaps))
        ranked = sorted((max(high, c + size) - min(low, c), c) for c in candidates)
        for _, offset in ranked:
            if all(is_free(value, offset, o, offsets[o.index], overlaps) for o in placed):
                offsets[value.index] = offset
                low, high = min(low, offset), max(high, offset + size)
                break
    return {index: offset - low for index, offset in offsets.items()}


def _overlapping(value: Value, other: Value, start: int, overlaps: Overlaps) -> set[int]:
    """Return the offsets of ``value`` that overlap ``other``, which starts at ``start``, most."""
    found = set()
    if _pair(value, other) in overlaps.same:
        found.add(start)
    if (value.index, other.index) in overlaps.distances:
        found.add(start - aligned(overlaps.distances[value.index, other.index]))
    if (other.index, value.index) in overlaps.distances:
        found.add(start + aligned(overlaps.distances[other.index, value.index]))
    return found


def is_free(value: Value, offset: int, other: Value, start: int, overlaps: Overlaps) -> bool:
    """Whether ``value`` at ``offset`` and ``other`` at ``start``, alive together, get along."""
    if offset + value.size <= start or start + other.size <= offset:
        return True
    forward = overlaps.distances.get((value.index, other.index))
    backward = overlaps.distances.get((other.index, value.index))
    return (
        (forward is not None and offset + forward <= start)
        or (backward is not None and start + backward <= offset)
        or (offset == start and _pair(value, other) in overlaps.same)
    )


def _pair(one: Value, other: Value) -> tuple[int, int]:
    return min(one.index, other.index), max(one.index, other.index)
