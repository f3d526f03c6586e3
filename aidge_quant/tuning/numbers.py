"""From choices to numbers: scales, intervals, shifts and multipliers that the contract can hold."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from aidge_quant.graph import Node
from aidge_quant.ptq.channels import output_rows, row_maxima
from aidge_quant.tuning.precision import (
    constant_reach,
    least_common_scale,
    least_weight_scales,
    tensor_reach,
)
from aidge_quant.tuning.scheme import Scheme, Span
from aidge_quant.tuning.skeleton import ADD, AFFINE, FUNCTION, INPUT, POOL, Site, Skeleton

INT32_LIMIT = 2**31 - 128
#: Largest right shift: the zero point, shifted to the left, stays far from int32's bounds.
LARGEST_SHIFT = 20
#: A channel's weight scale is at least 2**-10 of the layer's largest: rows of zeros need no more.
LARGEST_SPREAD = 10
#: Integer factors of an Add: their rounding is far below that of the data.
LARGEST_FACTOR = 2**14
#: Integer factor of a residual in an accumulator, by its bits: 2**22 * 128 leaves int32 room.
LARGEST_RESIDUALS = {8: 2**22, 16: 2**14}
#: Factor of a product of two differences, by their bits, within int32 with its rounding constant.
LARGEST_PRODUCT_FACTORS = {8: 2**13 - 1, 16: 1}
#: Of a pool of less than 2**15 positions, from 16 bits to 8: its zero point comes to 2**30.
LARGEST_POOL_SHIFT = 23


@dataclass(frozen=True, eq=False)
class Numbers:
    """What is written at one site.

    Attributes
    ----------
    scale : float
        Real value of one unit.
    lower, upper : int
    shift : int array () or (out,)
    weight_scale : float64 array () or (out,)
    factors : tuple of int
        Of the operands of an Add, or the one of a product.
    residual : int64 array () or (out,), or None
        Factor of what is added to the accumulator.
    """

    scale: float
    lower: int
    upper: int
    shift: np.ndarray
    weight_scale: np.ndarray
    factors: tuple[int, ...] = ()
    residual: np.ndarray | None = None


def interval(span: Span, *, bits: int = 8, zero_points: bool) -> tuple[float, int, int]:
    """Return scale, lower and upper of the integers that cover ``span``; 16 bits are symmetric."""
    low, high = min(span.low, 0.0), max(span.high, 0.0)
    if bits != 8 or not zero_points:
        top = 2 ** (bits - 1) - 1
        scale = max(-low, high) / top or 1.0
        return scale, 0 if low >= 0 else -top - 1, top
    scale = (high - low) / 255 or 1.0
    return scale, *placed(low, scale)


def placed(low: float, scale: float) -> tuple[int, int]:
    """Return the 256 integers that begin at ``low``; 0 is among them."""
    lower = int(min(max(np.floor(low / scale + 0.5), -255), 0))
    return lower, lower + 255


def resolve(skeleton: Skeleton, scheme: Scheme) -> dict[str, Numbers]:
    """Return the numbers of every site, each from those before it.

    Notes
    -----
    A layer with weights has a free output scale: its weights take ``s_w = 2**-k s_y / s_x``, k the
    largest for which the largest weight fits, less the scheme's exponent. A sum of N positions has
    ``s_y = s_x 2**k / N``; an Add integer factors ``2**k s_i / s_y``, at most 2**14 and rounded; a
    product ``s_y = s_a s_b 2**k / m``. A residual r in an accumulator has the factor ``m 2**(k_c -
    k)``, k the least shift, exactly: ``s_y = s_r 2**k / m`` is the next scale that allows it. No
    scale is so fine that an accumulator could leave int32: a row of weights that would is given
    fewer of its bits.
    """
    found: dict[str, Numbers] = {}
    members = Counter(site.group for site in skeleton.sites.values())
    for site in skeleton.sites.values():
        span = scheme.spans[site.group]
        bits = scheme.bits_of_tensor(site.group)
        scale, lower, upper = interval(span, bits=bits, zero_points=scheme.zero_points)
        free = Numbers(scale, lower, upper, np.asarray(0), np.asarray(1.0))
        if site.kind in (INPUT, FUNCTION):
            found[site.name] = free
        elif site.kind == AFFINE:
            found[site.name] = _affine(skeleton, scheme, site, found, free)
            if site.sum:
                shared = members[site.group] > 1
                of_residual = scheme.bits_of_tensor(skeleton.sites[site.sources[1]].group)
                largest = LARGEST_RESIDUALS[of_residual]
                found[site.name] = _with_residual(
                    scheme, site, found, found[site.name], shared, largest
                )
        elif site.kind == ADD:
            found[site.name] = _sum(site, found, free)
        elif site.kind == POOL:
            unit = found[site.sources[0]].scale / site.count
            shift = min(max(int(np.ceil(np.log2(scale / unit) - 1e-9)), 0), LARGEST_POOL_SHIFT)
            found[site.name] = _moved(free, span, scheme, bits, unit * 2.0**shift, shift)
        else:
            unit = float(np.prod([found[name].scale for name in site.sources]))
            largest = LARGEST_PRODUCT_FACTORS[bits]
            room = np.log2(largest * scale / unit)
            # With no factor but 1 the scale is up to twice the wanted one, never less.
            shift = int(np.floor(room) if largest > 1 else np.ceil(room - 1e-9))
            shift = min(max(shift, 0), LARGEST_SHIFT)
            factor = min(max(int(np.floor(unit / scale * 2.0**shift + 0.5)), 1), largest)
            moved = _moved(free, span, scheme, bits, unit * 2.0**shift / factor, shift)
            found[site.name] = replace(moved, factors=(factor,))
    return found


def _moved(
    free: Numbers, span: Span, scheme: Scheme, bits: int, scale: float, shift: int
) -> Numbers:
    """Return the numbers on another scale, the interval placed anew."""
    lower, upper = free.lower, free.upper
    if scheme.zero_points and bits == 8:
        lower, upper = placed(span.low, scale)
    return Numbers(scale, lower, upper, np.asarray(shift), np.asarray(1.0))


def _sum(site: Site, found: Mapping[str, Numbers], free: Numbers) -> Numbers:
    units = [found[name].scale / free.scale for name in site.sources]
    shift = int(np.floor(np.log2(LARGEST_FACTOR / max(units))))
    shift = min(max(shift, 0), LARGEST_SHIFT)
    factors = tuple(max(int(np.floor(unit * 2.0**shift + 0.5)), 1) for unit in units)
    return Numbers(free.scale, free.lower, free.upper, np.asarray(shift), np.asarray(1.0), factors)


def _affine(
    skeleton: Skeleton, scheme: Scheme, site: Site, found: Mapping[str, Numbers], free: Numbers
) -> Numbers:
    node = skeleton.graph.node(site.node)
    weight = skeleton.weight(site).operator.value
    largest = row_maxima(output_rows(node, weight)).astype(np.float64)
    per_channel = scheme.per_channel and _has_channel_scales(node)
    top = scheme.largest_weight(site.name)
    incoming = found[site.sources[0]].scale
    added = found[site.sources[1]].scale if site.sum else 0.0
    beside = constant_reach(skeleton, scheme, site, added) / incoming
    reach = tensor_reach(skeleton, scheme, site.sources[0])
    least = least_weight_scales(node, weight, beside, reach)
    if not per_channel:
        largest, least = largest.max(keepdims=True), least.max(keepdims=True)
    # s_w must reach the largest weight; a row of zeros takes any scale.
    needed = largest / top
    floor = needed.max() * 2.0**-LARGEST_SPREAD or 1.0
    needed = np.maximum(np.maximum(needed, floor), least)
    halved = np.asarray(scheme.exponents.get(site.name, 0))
    if site.is_logits and scheme.wide_logits:
        base = needed.max()
        doublings = np.ceil(np.log2(needed / base) - 1e-9) - halved
        common = least_common_scale(node, weight, beside, reach, needed)
        doublings = np.maximum(doublings, np.ceil(np.log2(max(common, least.max()) / base) - 1e-9))
        shift = (doublings.min() - doublings).astype(np.int64)  # left shifts
        weight_scale = base * 2.0**doublings
        unit = float(incoming * base * 2.0 ** doublings.min())
        if not per_channel:
            shift, weight_scale = shift.reshape(()), weight_scale.reshape(())
        return Numbers(unit, -INT32_LIMIT, INT32_LIMIT, shift, weight_scale)
    ratio = free.scale / incoming
    shift = np.floor(np.log2(ratio / needed) + 1e-9) + halved
    shift = np.minimum(shift, np.floor(np.log2(ratio / least) + 1e-9))
    shift = np.clip(shift, -10, LARGEST_SHIFT)
    weight_scale = 2.0**-shift * free.scale / incoming
    whole = shift.astype(np.int64)
    if not per_channel:
        whole, weight_scale = whole.reshape(()), weight_scale.reshape(())
    return Numbers(free.scale, free.lower, free.upper, whole, weight_scale)


def _with_residual(
    scheme: Scheme,
    site: Site,
    found: Mapping[str, Numbers],
    plain: Numbers,
    shared: bool,
    largest: int,
) -> Numbers:
    """Return the numbers of a layer whose accumulator takes a residual.

    Parameters
    ----------
    plain : Numbers
        Those without.
    shared : bool
        Whether other sites have the same scale: it stays, and the factors are rounded.
    largest : int
        Bound of the factors.
    """
    incoming, added = (found[name].scale for name in site.sources)
    ratio = added / plain.scale
    most = int(np.floor(np.log2(largest / ratio)))
    shift = np.asarray(np.minimum(plain.shift, most))
    least = 2.0 ** int(shift.min())
    factor = np.floor(ratio * least)
    if shared or factor < 1:
        factors = np.asarray(np.maximum(np.floor(ratio * 2.0**shift + 0.5), 1), np.int64)
        scaled = replace(plain, weight_scale=plain.weight_scale * 2.0 ** (plain.shift - shift))
        return replace(scaled, shift=shift, residual=factors)
    scale = added * least / factor
    factors = np.asarray(factor * 2.0**shift / least, np.int64)
    bits = scheme.bits_of_tensor(site.group)
    moved = _moved(plain, scheme.spans[site.group], scheme, bits, scale, 0)
    return replace(
        moved, shift=shift, weight_scale=2.0**-shift * scale / incoming, residual=factors
    )


def _has_channel_scales(node: Node) -> bool:
    """Whether one axis of the weight counts the output channels."""
    operator = node.operator
    return operator.output_axis == 0 or getattr(operator, "groups", 1) == 1
