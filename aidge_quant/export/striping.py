"""Which of the first layers to compute in stripes, and in which, to need less RAM."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from aidge_quant.export.target import plan_for
from aidge_quant.integer.counts import layer_macs
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.integer.stripes import in_stripes, stripe_chain

# More layers than these share too many rows between stripes.
_LONGEST_CHAIN = 8
# Chains whose stripes are tried in all heights.
_BEST_CHAINS = 2
# An arena larger by so much is as good if it takes fewer multiplications.
_AS_GOOD = 1.02


@dataclass(frozen=True)
class _Candidate:
    network: IntegerNetwork
    arena: int
    macs: int


def with_stripes(
    network: IntegerNetwork, target: str, *, input_in_arena: bool, budget: int | None = None
) -> IntegerNetwork:
    """Return ``network`` with its first layers in stripes if that needs less RAM, else itself.

    Parameters
    ----------
    target, input_in_arena
        As `export_c` takes them: the kernels' own working memory counts.
    budget : int or None
        Bytes of working memory; of what fits, the least multiplications are chosen. None, or if
        nothing fits: the least bytes.
    """

    def candidate(made: IntegerNetwork) -> _Candidate:
        plan = plan_for(made, target, input_in_arena=input_in_arena, quick=True)[1]
        return _Candidate(
            made, plan.arena_size, sum(layer_macs(made, layer) for layer in made.layers)
        )

    found = [candidate(network)]
    chain = stripe_chain(network)[:_LONGEST_CHAIN]
    heights = [network.tensor(layer.output).shape[0] for layer in chain]
    coarse: list[tuple[int, int]] = []
    for length, height in enumerate(heights, 1):
        if height > 1:
            ends = _even(height, -(-height // 6))
            found.append(candidate(in_stripes(network, length, ends)))
            coarse.append((found[-1].arena, length))
    for _, length in sorted(coarse)[:_BEST_CHAINS]:
        for ends in _schedules(heights[length - 1]):
            found.append(candidate(in_stripes(network, length, ends)))
    least = min(c.arena for c in found)
    limit = max(least, budget) if budget is not None else int(_AS_GOOD * least)
    return min((c for c in found if c.arena <= limit), key=lambda c: (c.macs, c.arena)).network


def _even(height: int, rows: int) -> tuple[int, ...]:
    """Return the ends of stripes of so many rows."""
    return (*range(rows, height, rows), height)


def _schedules(height: int) -> Iterator[tuple[int, ...]]:
    """Return the ends of stripes to try: all of a height, or growing while the input goes away."""
    for rows in (1, 2, 3, 4, 8):
        if rows < height:
            yield _even(height, rows)
    for slowness in (2, 3, 4):
        sizes = (1 + j // slowness for j in itertools.count())
        ends = itertools.takewhile(lambda end: end < height, itertools.accumulate(sizes))
        yield (*ends, height)
