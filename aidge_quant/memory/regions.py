"""Which values go to which of several memories: the busiest bytes to the first."""

from collections.abc import Mapping, Sequence

from aidge_quant.integer.counts import layer_macs
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.memory.overlaps import Overlaps
from aidge_quant.memory.placement import aligned, end_of, place_values
from aidge_quant.memory.values import Value

#: Of what is in none of the regions that the caller names.
ARENA = ""


def divide(
    network: IntegerNetwork,
    values: Sequence[Value],
    overlaps: Overlaps,
    regions: Mapping[str, int],
) -> dict[str, list[Value]]:
    """Return the values of every region, and those of the arena under "".

    Regions are filled in their order, each as far as it goes, with the values whose bytes are
    touched most often.

    Parameters
    ----------
    regions : mapping of str to int
        Bytes by name.
    """
    left = sorted(values, key=lambda value: (-_touches(network, value), value.index))
    found: dict[str, list[Value]] = {}
    for name, size in regions.items():
        inside: list[Value] = []
        for value in left:
            tried = [*inside, value]
            if aligned(value.size) > size:
                continue
            if aligned(end_of(tried, place_values(tried, overlaps, 0))) <= size:
                inside = tried
        found[name] = inside
        taken = {value.index for value in inside}
        left = [value for value in left if value.index not in taken]
    return found | {ARENA: left}


def _touches(network: IntegerNetwork, value: Value) -> float:
    """Return how often a byte of a value is read or written, on average.

    A layer that multiplies reads its input and its working memory about as often as it multiplies;
    all others touch every byte once.
    """
    total = 0.0
    for access in value.reads:
        if 0 <= access.position < len(network.layers):
            macs = layer_macs(network, network.layers[access.position])
            total += max(macs, access.end - access.start)
    total += sum(access.end - access.start for access in value.writes)
    return total / value.size
