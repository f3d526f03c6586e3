"""The end of a fused layer: compensation, quantizer and clips, as one Requantization."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import GraphError, OverflowProofError
from aidge_quant.graph import Annotation, Node, Port
from aidge_quant.integer.lowering.builder import Builder
from aidge_quant.integer.requantization import HALF_UP, Requantization
from aidge_quant.ops import Clip, Mul, Quantizer, ReLU

INT32_MAX = 2**31 - 1


@dataclass(frozen=True, eq=False)
class Tail:
    """What follows the accumulator of a layer, up to the tensor that is stored.

    Attributes
    ----------
    nodes : tuple of Node
        The nodes fused, in order; the last one's output is the layer's output.
    quantizer : Quantizer
    coefficient : int
        Compensation multiplied into the accumulator; 1 without.
    lower : int
    upper : int or int64 array (channels,)
        Bounds of the stored value less its zero point.
    scale : float or array
        Real value of one unit.
    element_type : dtype
        Type that is stored.
    zero_point : int
    """

    nodes: tuple[Node, ...]
    quantizer: Quantizer
    coefficient: int
    lower: int
    upper: int | np.ndarray
    scale: float | np.ndarray
    element_type: dtype
    zero_point: int

    @property
    def last(self) -> Node:
        """The node whose output is stored."""
        return self.nodes[-1]

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the largest value of any channel, less the zero point."""
        return self.lower, int(np.max(self.upper))


def read_tail(builder: Builder, node: Node, *, affine: bool = False) -> Tail:
    """Return the tail of ``node``, whose output is an accumulator, and mark its nodes as fused.

    Parameters
    ----------
    builder : Builder
    node : Node
    affine : bool
        Whether it belongs to a layer with weights, whose channels may have bounds of their own.

    Raises
    ------
    UnsupportedError
        If no quantizer follows, or it does not round.
    """
    nodes: list[Node] = []
    coefficient = 1
    following = builder.graph.sole_consumer(node)
    if following is not None and following.annotations.get(Annotation.IS_COMPENSATION):
        coefficient = compensation(builder, following)
        nodes.append(following)
        following = builder.graph.sole_consumer(following)
    if following is None or not isinstance(following.operator, Quantizer):
        raise builder.refuse(
            node, "no quantizer follows its accumulator", "call quantize_network before lower"
        )
    nodes.append(following)
    return _with_clips(builder, nodes, coefficient, affine)


def quantizer_tail(builder: Builder, node: Node, coefficient: int = 1) -> Tail:
    """Return the tail that starts at the quantizer ``node`` itself."""
    return _with_clips(builder, [node], coefficient, False)


def compensation(builder: Builder, node: Node) -> int:
    """Return the integer coefficient of a compensation node."""
    port = next(p for p in node.inputs if p is not None and builder.is_constant(p.node))
    value = builder.constant(port)
    if not isinstance(node.operator, Mul) or value.size != 1 or value.item() != int(value.item()):
        raise builder.refuse(node, f"its coefficient {value} is not one integer")
    return int(value.item())


def channel_compensation(builder: Builder, node: Node) -> np.ndarray:
    """Return the integer coefficients of a compensation node, int64 () or (channels,)."""
    port = next(p for p in node.inputs if p is not None and builder.is_constant(p.node))
    values = np.asarray(builder.constant(port), np.float64)
    along = [axis for axis, size in enumerate(values.shape) if size > 1]
    whole = np.array_equal(values, np.floor(values))
    if not isinstance(node.operator, Mul) or along not in ([], [1]) or not whole:
        raise builder.refuse(
            node, f"its coefficients {values.shape} are not integers, one or one a channel"
        )
    return values.reshape((-1,) if along else ()).astype(np.int64)


def data_port(builder: Builder, node: Node) -> Port:
    """Return the input of ``node`` that is not a constant."""
    return next(p for p in node.inputs if p is not None and not builder.is_constant(p.node))


def _with_clips(builder: Builder, nodes: list[Node], coefficient: int, affine: bool) -> Tail:
    node = nodes[-1]
    quantizer: Quantizer = node.operator
    if quantizer.rounding is None or quantizer.clip is None:
        raise builder.refuse(node, "it neither rounds nor clips", "quantize without no_quant=True")
    if Annotation.SCALE not in node.annotations:
        raise builder.refuse(node, "the real value of its integers is not noted on it")
    scale = node.annotations[Annotation.SCALE]
    clip = quantizer.clip
    if builder.rounding is not None:
        quantizer = dataclasses.replace(quantizer, rounding=builder.rounding)
    lower: int = clip[0]
    upper: int | np.ndarray = clip[1]
    following = builder.graph.sole_consumer(node)
    while following is not None and isinstance(following.operator, ReLU | Clip):
        if np.ndim(getattr(following.operator, "upper", 0)) and not affine:
            raise builder.refuse(
                following, "it has a bound for every channel, and no layer with weights before it"
            )
        lower, upper = clipped(following, lower, upper)
        nodes.append(following)
        following = builder.graph.sole_consumer(following)
    element_type = storage_type(clip)
    # From the quantizer alone: parts of a Concat share its interval, not the clips behind it.
    zero_point = stored_zero_point(*clip, element_type)
    builder.fused.update(nodes)
    return Tail(tuple(nodes), quantizer, coefficient, lower, upper, scale, element_type, zero_point)


def clipped(node: Node, lower: int, upper: int | np.ndarray) -> tuple[int, int | np.ndarray]:
    """Return the bounds behind a ReLU or an integer Clip, the upper ones as those of Tail."""
    low, high = np.asarray(0.0), np.asarray(np.inf)
    if isinstance(node.operator, Clip):
        low, high = np.asarray(node.operator.lower), np.asarray(node.operator.upper)
    for bound in (low, high):
        finite = np.isfinite(bound)
        if not (np.floor(bound) == bound)[finite].all():
            raise GraphError(f"{node.name} (Clip): bound {bound} is not on the integer grid")
    # Like numpy and ONNX: where the bounds cross, the upper one wins.
    least, most = np.maximum(lower, low), np.minimum(np.maximum(upper, low), high)
    if most.ndim:
        return int(min(least, most.min())), most.astype(np.int64)
    return int(min(least, most)), int(most)


def storage_type(clip: tuple[int, int]) -> dtype:
    """Return the smallest type that stores an interval, with a zero point where it is 8 bits."""
    for element_type in (dtype.int8, dtype.int16, dtype.int32):
        if clip[1] - clip[0] <= element_type.max - element_type.min and (
            element_type is dtype.int8
            or (clip[0] >= element_type.min and clip[1] <= element_type.max)
        ):
            return element_type
    raise OverflowProofError(f"the interval {clip} does not fit into 32 bits")


def stored_zero_point(lower: int, upper: int, element_type: dtype) -> int:
    """Return 0 where the bounds fit the type, else the zero point that puts ``lower`` at its least.

    Where 0.0 itself lies outside the bounds, the nearest zero point of the type that stores them.

    Raises
    ------
    OverflowProofError
        If there is none.
    """
    if lower >= element_type.min and upper <= element_type.max:
        return 0
    zero_point = max(element_type.min, min(element_type.max, element_type.min - lower))
    if lower + zero_point < element_type.min or upper + zero_point > element_type.max:
        raise OverflowProofError(
            f"no {element_type.value} zero point stores {lower} to {upper}; use a clip that "
            "contains 0 or more bits"
        )
    return zero_point


def requantization(tail: Tail, channels: int) -> tuple[Requantization, np.ndarray]:
    """Return the requantization and what it adds to the bias.

    Returns
    -------
    requantization : Requantization
    addend : int64 array () or (channels,)
        Rounding constants and, where all shifts are to the right, the output's zero point.
    """
    quantizer = tail.quantizer
    lower, upper = tail.lower + tail.zero_point, tail.upper + tail.zero_point
    if isinstance(upper, np.ndarray):
        upper = upper.astype(np.int32)
    rounding = quantizer.rounding or HALF_UP
    if quantizer.shift is None:
        multiplier, shift = fixed_point(np.asarray(quantizer.scale, np.float64), channels)
        form = Requantization(shift, multiplier, tail.zero_point, lower, upper, rounding)
        return form, np.zeros((), np.int64)
    shift = _per_channel(np.asarray(quantizer.shift), channels).astype(np.int64)
    addend = np.zeros(shift.shape, np.int64)
    offset = tail.zero_point
    if rounding == HALF_UP:
        addend += np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)
        if (shift >= 0).all():
            addend += np.int64(offset) << shift
            offset = 0
    form = Requantization(shift.astype(np.int8), None, offset, lower, upper, rounding)
    return form, addend if addend.size > 1 else addend.reshape(())


def fixed_point(scale: np.ndarray, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the multiplier and shift nearest to ``scale``: scale = multiplier * 2**-shift.

    Parameters
    ----------
    scale : float64 array () or (channels,), positive, below 2**30

    Returns
    -------
    multiplier : int32 array (1,) or (channels,), in [2**30, 2**31)
    shift : int8 array of the same shape, 1 to 62; scales below 2**-32 saturate at 62
    """
    values = _per_channel(scale, channels)
    mantissa, exponent = np.frexp(values)
    multiplier = np.floor(mantissa * 2.0**31 + 0.5).astype(np.int64)
    carry = multiplier == 2**31
    multiplier[carry] = 2**30
    shift = 31 - (exponent + carry)
    if not (np.isfinite(values).all() and (values > 0).all() and (shift >= 1).all()):
        raise GraphError(f"scale {values} has no fixed-point form: expected 0 < scale < 2**30")
    small = shift > 62
    multiplier[small], shift[small] = 2**30, 62
    return multiplier.astype(np.int32), shift.astype(np.int8)


def folded_bias(name: str, bias: np.ndarray, addend: np.ndarray) -> np.ndarray:
    """Return bias + addend as int32.

    Raises
    ------
    OverflowProofError
        If a channel leaves int32.
    """
    total = np.asarray(bias, np.int64) + addend
    worst = int(np.abs(total).argmax())
    if abs(int(total.reshape(-1)[worst])) > INT32_MAX:
        raise OverflowProofError(
            f"{name}: the bias of channel {worst} is {total.reshape(-1)[worst]} with its rounding "
            "constant and zero points, which int32 cannot hold; use fewer bits or a larger "
            "output range"
        )
    return total.astype(np.int32)


def _per_channel(values: np.ndarray, channels: int) -> np.ndarray:
    flat = np.atleast_1d(values).reshape(-1)
    if flat.size not in (1, channels):
        raise GraphError(f"{flat.size} scales for {channels} channels")
    return flat
