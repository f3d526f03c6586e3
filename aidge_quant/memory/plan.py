"""Memory plan of a network: where every tensor lives in the exported C.

Inputs are read where the caller has them and outputs are written where the caller wants them; all
other values share one arena. Which values are alive together is exact, so the arena is as small as
the placement finds, and its size is known before anything is compiled.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.memory.needs import Needs
from aidge_quant.memory.values import Value, find_values

ALIGNMENT = 4

# Swaps tried beyond the fixed orders are bounded by the square of the number of values: no plan
# takes longer than about a tenth of a second more for it.
_EFFORT = 150_000


@dataclass(frozen=True)
class Place:
    """Where a tensor lives.

    Attributes
    ----------
    kind : {"arena", "input", "output"}
    index : int
        Position among the network's inputs or outputs; 0 for the arena.
    offset : int
        Bytes from the start of the arena, a multiple of 4; 0 for the others.
    """

    kind: str
    index: int
    offset: int


@dataclass(frozen=True)
class Plan:
    """Where every tensor of a network lives, and what has to be copied in the end.

    Attributes
    ----------
    places : mapping of tensor name to Place
    scratch : mapping of layer name to int
        Where in the arena the working memory of a layer begins, for those that have some.
    arena_size : int
        Bytes, a multiple of 4; 4 where no tensor needs the arena, as C has no empty array.
    copies : tuple of (str, int)
        Tensor and position of the output that it has to be copied to after the last layer.
    values : tuple of Value
    lower_bound : int
        Bytes that are alive together at the busiest layer: no plan can be smaller.
    """

    places: Mapping[str, Place]
    scratch: Mapping[str, int]
    arena_size: int
    copies: tuple[tuple[str, int], ...]
    values: tuple[Value, ...]
    lower_bound: int


def plan_memory(network: IntegerNetwork, needs: Mapping[str, Needs] | None = None) -> Plan:
    """Return the memory plan of ``network``; the same arguments give the same plan.

    Parameters
    ----------
    needs : mapping of layer name to Needs, optional
        Of the layers whose kernels ask for something else than the portable ones.
    """
    values = find_values(network, needs)
    in_arena = [value for value in values if not value.inputs and not value.outputs]
    offsets = _place(in_arena)
    places: dict[str, Place] = {}
    for value in values:
        if value.inputs:
            place = Place("input", value.inputs[0], 0)
        elif value.outputs:
            place = Place("output", value.outputs[0], 0)
        else:
            place = Place("arena", 0, offsets[value.index])
        places.update(dict.fromkeys(value.tensors, place))
    copies = []
    for value in values:
        direct = () if value.inputs else value.outputs[:1]
        copies += [
            (network.outputs[output], output) for output in value.outputs if output not in direct
        ]
    return Plan(
        places=places,
        scratch={v.scratch_of: offsets[v.index] for v in in_arena if v.scratch_of},
        arena_size=max(_align(_end(in_arena, offsets)), ALIGNMENT),
        copies=tuple(sorted(copies, key=lambda copy: copy[1])),
        values=values,
        lower_bound=_lower_bound(in_arena),
    )


def _align(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _end(values: Iterable[Value], offsets: Mapping[int, int]) -> int:
    return max((offsets[value.index] + value.size for value in values), default=0)


def _lower_bound(values: Sequence[Value]) -> int:
    """Return the bytes alive at the busiest layer, each value rounded up to its alignment."""
    size = {value.index: _align(value.size) for value in values}
    busiest = 0
    for position in {value.birth for value in values}:
        alive = sum(size[v.index] for v in values if v.birth <= position <= v.death)
        for born in values:
            if born.birth == position:
                alive -= min(size[born.index], _shared(born, size))
        busiest = max(busiest, alive)
    return busiest


def _shared(born: Value, size: Mapping[int, int]) -> int:
    """Return the most bytes that a value has in common with those that it may replace."""
    overlaps = dict.fromkeys(born.may_coincide, 0) | dict(born.may_replace)
    # Of a value that starts some bytes behind, only the rest of the new one can reach it.
    return sum(
        max(0, min(size.get(index, 0), size[born.index] - distance))
        for index, distance in overlaps.items()
    )


def _place(values: Sequence[Value]) -> dict[int, int]:
    """Return an offset for every value: the best of several greedy orders."""
    if not values:
        return {}
    bound = _lower_bound(values)
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
    neighbours = _neighbours(values)
    best_size, best, best_order = -1, {}, orders[0]
    for order in orders:
        offsets = _place_in_order(order, neighbours)
        size = _align(_end(values, offsets))
        if best_size < 0 or size < best_size:
            best_size, best, best_order = size, offsets, order
    generator = random.Random(0)  # the same network, the same plan
    for _ in range(_EFFORT // (len(values) ** 2 + 100) if len(values) > 2 else 0):
        if best_size <= bound:
            break
        order = list(best_order)
        i, j = generator.sample(range(len(order)), 2)
        order.insert(j, order.pop(i))
        offsets = _place_in_order(order, neighbours)
        size = _align(_end(values, offsets))
        if size <= best_size:
            best_size, best, best_order = size, offsets, order
    return best


def _neighbours(values: Sequence[Value]) -> dict[int, list[Value]]:
    """Return, for every value, those that are alive at a layer where it is alive too."""
    return {
        value.index: [
            other
            for other in values
            if other is not value and other.birth <= value.death and value.birth <= other.death
        ]
        for value in values
    }


def _place_in_order(
    order: Iterable[Value], neighbours: Mapping[int, Sequence[Value]]
) -> dict[int, int]:
    """Place the values one by one, each where it fits and adds least to what they span together.

    Values are placed on both sides of those before them; in the end the lowest is at 0.
    """
    offsets: dict[int, int] = {}
    low = high = 0
    for value in order:
        size = _align(value.size)
        placed = [other for other in neighbours[value.index] if other.index in offsets]
        candidates = {low}
        for other in placed:
            start = offsets[other.index]
            candidates.update((start + _align(other.size), start - size))
            candidates.update(_overlapping(value, other, start))
        ranked = sorted((max(high, c + size) - min(low, c), c) for c in candidates)
        for _, offset in ranked:
            if all(_is_free(value, offset, other, offsets[other.index]) for other in placed):
                offsets[value.index] = offset
                low, high = min(low, offset), max(high, offset + size)
                break
    return {index: offset - low for index, offset in offsets.items()}


def _overlapping(value: Value, other: Value, other_offset: int) -> set[int]:
    """Return the offsets of ``value`` that overlap ``other``, a value of the same layer, most."""
    found = set()
    if value.index in other.may_coincide or other.index in value.may_coincide:
        found.add(other_offset)
    if other.index in value.may_replace:
        found.add(other_offset - _align(value.may_replace[other.index]))
    if value.index in other.may_replace:
        found.add(other_offset + _align(other.may_replace[value.index]))
    return found


def _is_free(value: Value, offset: int, other: Value, other_offset: int) -> bool:
    """Whether ``value`` at ``offset`` leaves ``other``, which is alive with it, unharmed."""
    if offset + value.size <= other_offset or other_offset + other.size <= offset:
        return True
    if other.index in value.may_replace:
        return offset + value.may_replace[other.index] <= other_offset
    if value.index in other.may_replace:
        return other_offset + other.may_replace[value.index] <= offset
    coincide = other.index in value.may_coincide or value.index in other.may_coincide
    return coincide and offset == other_offset
