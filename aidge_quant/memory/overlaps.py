"""Which values may overlap although both are in use, and how far.

A value that is written from front to end may grow over the front of another one that is read from
front to end: at any time the first has content up to some byte, and the second is still needed from
some byte on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from aidge_quant.memory.values import Access, Value


@dataclass(frozen=True)
class Overlaps:
    """What `find_overlaps` finds.

    Attributes
    ----------
    distances : dict of (int, int) to int
        By the indices of a value in front and of one behind it: how many bytes the second must
        start behind the first, at least; negative if it may even start in front.
    same : set of (int, int)
        Indices of two values that may start at the same place, the lower first.
    """

    distances: dict[tuple[int, int], int]
    same: set[tuple[int, int]]


def find_overlaps(values: Sequence[Value]) -> Overlaps:
    """Return which of ``values`` may overlap; all others that are alive together must not."""
    distances: dict[tuple[int, int], int] = {}
    same: set[tuple[int, int]] = set()
    holding = [value for value in values if not value.scratch_of]
    for front in holding:
        for behind in holding:
            if front is behind or not meet(front, behind):
                continue
            distance = _distance(front, behind)
            if distance < front.size:
                distances[front.index, behind.index] = distance
            if _coincide(front, behind):
                same.add((min(front.index, behind.index), max(front.index, behind.index)))
    return Overlaps(distances, same)


def meet(one: Value, other: Value) -> bool:
    """Whether two values are alive at the same layer."""
    return other.birth <= one.death and one.birth <= other.death


def written_to(value: Value, position: int) -> int:
    """Return the end of what has been written when the layer at ``position`` is done."""
    return max((w.end for w in value.writes if w.position <= position), default=0)


def needed_from(value: Value, position: int) -> int | None:
    """Return the first byte that is read or written by the layers from ``position`` on, if any."""
    accesses = (*value.reads, *value.writes)
    return min((a.start for a in accesses if a.position >= position), default=None)


def bytes_in_use(value: Value, position: int) -> int:
    """Return how many bytes hold what the layer at ``position`` or a later one touches."""
    later = [a for a in (*value.reads, *value.writes) if a.position >= position]
    first, last = min(a.start for a in later), max(a.end for a in later)
    return max(0, min(last, written_to(value, position)) - first)


def _at(accesses: Sequence[Access], position: int) -> list[Access]:
    return [access for access in accesses if access.position == position]


def _distance(front: Value, behind: Value) -> int:
    """Return how many bytes ``behind`` must start behind ``front`` while both are alive."""
    found = -behind.size
    for position in range(max(front.birth, behind.birth), min(front.death, behind.death) + 1):
        for done in (position - 1, position):
            needed = needed_from(behind, done + 1)
            if needed is not None:
                found = max(found, written_to(front, done) - needed)
        for written in _at(front.writes, position):
            for read in _at(behind.reads, position):
                if read.distance is None:
                    found = max(found, written.end - read.start)
                else:
                    found = max(found, written.start + read.distance - read.start)
        # What one layer writes of both lies apart, as does what is written while front has content.
        for written in _at(behind.writes, position):
            found = max(found, written_to(front, position) - written.start)
    return found


def _coincide(made: Value, read: Value) -> bool:
    """Whether ``made`` is written at once, where all that is left of ``read`` may be replaced."""
    if len(made.writes) != 1 or made.birth != read.death or made.size != made.writes[0].end:
        return False
    last = _at(read.reads, made.birth)
    whole = made.writes[0].start == 0 and not _at(read.writes, made.birth)
    return bool(last) and whole and all(r.same and r.start == 0 for r in last)
