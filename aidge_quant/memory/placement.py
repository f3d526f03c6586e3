"""Offsets for values that share one arena: as close together as their lives allow."""

import itertools
import random
from collections.abc import Iterable, Mapping, Sequence

from aidge_quant.memory.overlaps import Overlaps, bytes_in_use, meet
from aidge_quant.memory.values import Value

ALIGNMENT = 4

# Steps of the local search times the square of the number of values. A plan takes at most about two
# seconds for it; most take none, as their first order reaches the bound.
EFFORT = 600_000
_STARTS = 3
# A plan so near its bound is good enough.
_NEAR = 1.005
_STEPS = 60


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
    """Return an offset, a multiple of 4, for every value: the best that a local search finds.

    It begins with the best of some greedy orders. A step moves a value to another place in the
    order, or lets one take its second or third best offset; what is not worse is kept.
    """
    if not values:
        return {}
    bound = lower_bound(values, overlaps)
    best: tuple[tuple[int, int], dict[int, int]] | None = None
    for seed, window in itertools.product(range(_STARTS if effort else 1), (0, bound)):
        search = _Search(values, overlaps, bound, window)
        offsets = search.run(effort // _STARTS, seed)
        if best is None or search.cost(offsets) < best[0]:
            best = search.cost(offsets), offsets
        if best[0][0] <= _NEAR * bound:
            break
    assert best is not None
    return best[1]


class _Search:
    """Greedy placements of the same values.

    Bytes of a window are taken to be in use from the start: within it, an offset is as good as
    another. Without, values are kept as close together as they can.
    """

    def __init__(
        self, values: Sequence[Value], overlaps: Overlaps, bound: int, window: int
    ) -> None:
        self._values = values
        self._bound = bound
        self._window = window
        self._overlaps = overlaps
        self._neighbours = {
            value.index: [other for other in values if other is not value and meet(value, other)]
            for value in values
        }
        # What a value leaves free in front of it, so that others may begin there and grow over it.
        self._room: dict[int, set[int]] = {value.index: {0} for value in values}
        for (front, behind), distance in overlaps.distances.items():
            if distance > 0 and front in self._room and behind in self._room:
                self._room[behind].add(aligned(distance))

    def run(self, effort: int, seed: int) -> dict[int, int]:
        """Return the best placement of the local search."""
        values = self._values
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
        found = [self.place(order, {}) for order in orders]
        best = min(found, key=self.cost)
        order, passed = orders[found.index(best)], dict[int, int]()
        generator = random.Random(seed)
        steps = min(effort // (len(values) ** 2 + 100), _STEPS) if len(values) > 2 else 0
        for _ in range(steps):
            if self.cost(best)[0] <= _NEAR * self._bound:
                break
            moved, skipped = list(order), dict(passed)
            value = generator.choice(self._in_the_way(best))
            if generator.random() < 0.5:
                moved.remove(value)
                moved.insert(generator.randrange(len(order)), value)
            else:
                skipped[value.index] = generator.choice((0, 1, 1, 2))
            offsets = self.place(moved, skipped)
            if self.cost(offsets) <= self.cost(best):
                best, order, passed = offsets, moved, skipped
        return best

    def _in_the_way(self, offsets: Mapping[int, int]) -> list[Value]:
        """Return the values beyond the bound, and those that are alive with one of them."""
        beyond = [v for v in self._values if offsets[v.index] + v.size > self._bound]
        indices = {o.index for v in beyond for o in (v, *self._neighbours[v.index])}
        return [value for value in self._values if value.index in indices] or list(self._values)

    def cost(self, offsets: Mapping[int, int]) -> tuple[int, int]:
        """Return the bytes that all values span, and how far they are beyond the bound together.

        The second leads the search where several layers have to improve before the first does.
        """
        beyond = (max(0, offsets[v.index] + v.size - self._bound) for v in self._values)
        return aligned(end_of(self._values, offsets)), sum(beyond)

    def place(self, order: Iterable[Value], skipped: Mapping[int, int]) -> dict[int, int]:
        """Place the values one by one, each where it fits and adds least to what they span.

        Values are placed on both sides of those before them; in the end the lowest is at 0. Of the
        offsets where a value fits, the best is taken, or one that follows it by ``skipped`` ranks.
        """
        offsets: dict[int, int] = {}
        low = high = 0
        for value in order:
            size = aligned(value.size)
            placed = [o for o in self._neighbours[value.index] if o.index in offsets]
            candidates = {low + room for room in self._room[value.index]}
            for other in placed:
                start = offsets[other.index]
                above = start + aligned(other.size)
                candidates.update(above + room for room in self._room[value.index])
                candidates.add(start - size)
                candidates.update(_overlapping(value, other, start, self._overlaps))
            left = skipped.get(value.index, 0)
            chosen = None
            ranked = ((max(high, c + size) - min(low, c), c) for c in candidates)
            for _, offset in sorted((max(span, self._window), c) for span, c in ranked):
                if all(is_free(value, offset, o, offsets[o.index], self._overlaps) for o in placed):
                    chosen = offset
                    if left == 0:
                        break
                    left -= 1
            if chosen is None:
                chosen = high  # behind all others it always fits
            offsets[value.index] = chosen
            low, high = min(low, chosen), max(high, chosen + size)
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
