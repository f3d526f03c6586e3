"""Bits of tensors and the room of accumulators: what binds a tensor to 8 bits, a row to a scale."""

from collections.abc import Mapping

import numpy as np

from aidge_quant.graph import Node
from aidge_quant.ptq.channels import output_rows
from aidge_quant.tuning.scheme import Scheme, Span
from aidge_quant.tuning.skeleton import AFFINE, POOL, PRODUCT, Site, Skeleton

#: What |bias| + sum|w| * reach may come to. The rest of int32 is for the rounding constant and the
#: zero point, at most 2**27 at the largest shift, and for biases that correction makes larger.
ACCUMULATOR_ROOM = 2.0**31 - 2.0**28
#: Largest magnitude of a stored integer, for 8 bits together with that of the zero point.
REACH = {8: 256, 16: 32768}
#: A longer sum of 16-bit integers would leave its weights less than 3 bits.
LONGEST_SUM = 2**14
#: A pool sums fewer 16-bit integers than this: sum, rounding constant and zero point fit in int32.
LARGEST_POOL = 2**15


def agreed_bits(skeleton: Skeleton, wanted: Mapping[str, int], default: int = 8) -> dict[str, int]:
    """Return the bits of every group: the widest wanted among those joined, 8 where bound.

    Parameters
    ----------
    wanted : mapping of int, 8 or 16, by group
        ``default`` where absent.
    """
    bound = _bound_groups(skeleton)
    found: dict[str, int] = {}
    for joined in joined_groups(skeleton):
        widest = max(wanted.get(group, default) for group in joined)
        found.update(dict.fromkeys(joined, 8 if bound & joined else widest))
    return found


def joined_groups(skeleton: Skeleton) -> list[set[str]]:
    """Return the sets of groups whose tensors must have one type, in topological order.

    Layers read operands of one type, residuals included. A product writes the type it reads, since
    the square of a 16-bit unit is too far from an 8-bit one for the largest shift.
    """
    sets: list[set[str]] = []
    for site in skeleton.sites.values():
        sets.append({site.group})
        if len(site.sources) > 1:
            sets.append({skeleton.sites[name].group for name in site.sources})
        if site.kind == PRODUCT:
            sets[-1].add(site.group)
    joined: list[set[str]] = []
    for members in sets:
        touching = [other for other in joined if other & members]
        if touching:
            touching[0].update(members, *touching[1:])
            joined = [other for other in joined if all(other is not t for t in touching[1:])]
        else:
            joined.append(set(members))
    return joined


def _bound_groups(skeleton: Skeleton) -> set[str]:
    """Return the groups that stay at 8 bits: at tables, and before sums without room for more."""
    bound = {site.group for site in skeleton.sites.values() if site.feeds_table}
    for site in skeleton.sites.values():
        if site.kind == AFFINE:
            node = skeleton.graph.node(site.node)
            weight = output_rows(node, skeleton.weight(site).operator.value)
            long = weight[0].size > LONGEST_SUM
        else:
            long = site.kind == POOL and site.count >= LARGEST_POOL
        if long:
            bound.add(skeleton.sites[site.sources[0]].group)
    return bound


def whole_spans(
    scheme: Scheme, spans: Mapping[str, Span], whole: Mapping[str, Span], room: float
) -> dict[str, Span]:
    """Return ``spans``, those of 16-bit groups replaced by ``whole`` ones, ``room`` times as wide.

    16-bit tensors have levels to spare, so that clipping them gains nothing.
    """
    return {
        group: whole[group].scaled(room) if scheme.bits_of_tensor(group) == 16 else span
        for group, span in spans.items()
    }


def tensor_reach(skeleton: Skeleton, scheme: Scheme, name: str) -> int:
    """Return ``REACH`` of the tensor of a site."""
    return REACH[scheme.bits_of_tensor(skeleton.sites[name].group)]


def constant_reach(skeleton: Skeleton, scheme: Scheme, site: Site, added: float) -> np.ndarray:
    """Return what bias and residual of an affine site can reach, in real values: float64 (out,).

    The bias is the network's own: the shifts must not change when biases are corrected.

    Parameters
    ----------
    added : float
        Scale of the residual; without effect where there is none.
    """
    reach = np.abs(np.asarray(skeleton.bias(site).operator.value, np.float64)).ravel()
    if site.sum:
        reach = reach + added * tensor_reach(skeleton, scheme, site.sources[1])
    return reach


def least_weight_scales(
    node: Node, weight: np.ndarray, beside: np.ndarray, reach: int
) -> np.ndarray:
    """Return the least weight scales (out,) with which no accumulator leaves int32.

    Parameters
    ----------
    weight : array in the layout of the graph
    beside : float64 array (out,)
        ``constant_reach`` in units of the weight: divided by the scale of the input.
    reach : int
        Of the input.

    Notes
    -----
    ``beside / s_w + reach * (sum|W| / s_w + taps / 2) <= ACCUMULATOR_ROOM``, nearest rounding
    adding one half to a weight at most.
    """
    sums, taps = _sums(node, weight)
    least = (beside + reach * sums) / (ACCUMULATOR_ROOM - reach * taps / 2)
    return np.maximum(least, np.finfo(np.float64).tiny)


def least_common_scale(
    node: Node, weight: np.ndarray, beside: np.ndarray, reach: int, needed: np.ndarray
) -> float:
    """Return the least unit in which the accumulators of all rows stay within int32.

    Parameters
    ----------
    weight, beside, reach
        As for ``least_weight_scales``.
    needed : float64 array (out,) or (1,)
        Weight scales that the rows need by themselves. A power of two takes less than twice of it.
    """
    sums, taps = _sums(node, weight)
    return float((beside + reach * (sums + taps * needed)).max() / ACCUMULATOR_ROOM)


def overflowing_rows(integers: np.ndarray, beside: np.ndarray, reach: int) -> np.ndarray:
    """Return which rows of integers (out, ...) could leave int32.

    Parameters
    ----------
    beside : float64 array (out,)
        ``constant_reach`` in units of the accumulator.
    """
    sums = np.abs(integers).reshape(len(integers), -1).sum(axis=1)
    return beside + reach * sums > ACCUMULATOR_ROOM


def _sums(node: Node, weight: np.ndarray) -> tuple[np.ndarray, int]:
    rows = np.abs(output_rows(node, weight).astype(np.float64))
    rows = rows.reshape(len(rows), -1)
    return rows.sum(axis=1), rows.shape[1]
