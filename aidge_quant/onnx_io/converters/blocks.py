"""Operators that exchange channels for positions, and nearest-neighbour resizing."""

from aidge_quant.errors import GraphError, UnsupportedError
from aidge_quant.onnx_io.builder import Value
from aidge_quant.onnx_io.converters.registry import converts
from aidge_quant.onnx_io.node import NodeReader
from aidge_quant.ops import DepthToSpace, Resize, SpaceToDepth
from aidge_quant.ops.resize import COORDINATES, NEAREST


@converts("DepthToSpace")
def depth_to_space(node: NodeReader) -> list[Value]:
    """Read both orders of channels."""
    return node.add(DepthToSpace(_block(node), _columns_first(node)), node.value(0))


@converts("SpaceToDepth")
def space_to_depth(node: NodeReader) -> list[Value]:
    """Read both orders of channels."""
    return node.add(SpaceToDepth(_block(node), _columns_first(node)), node.value(0))


@converts("Upsample")
def upsample(node: NodeReader) -> list[Value]:
    """Read as Resize, which took its place with opset 10."""
    _require_nearest(node)
    scales = node.numbers("scales") if node.opset < 9 else _scales(node, 1)
    if scales is None:
        raise GraphError("attribute scales is missing")
    return _resize(node, scales, (), "asymmetric", "floor")


@converts("Resize")
def resize(node: NodeReader) -> list[Value]:
    """Read nearest-neighbour resizing by constant scales or to constant sizes."""
    _require_nearest(node)
    if node.opset < 11:
        return _resize(node, _scales(node, 1), (), "asymmetric", "floor")
    node.ignore("cubic_coeff_a", "exclude_outside", "extrapolation_value", "antialias")
    coordinates = node.text("coordinate_transformation_mode", "half_pixel")
    nearest = node.text("nearest_mode", "round_prefer_floor")
    if coordinates not in COORDINATES:
        raise UnsupportedError(
            f"coordinate_transformation_mode is {coordinates!r}, expected one of "
            f"{', '.join(COORDINATES)}"
        )
    if nearest not in NEAREST:
        raise GraphError(f"nearest_mode is {nearest!r}, expected one of {', '.join(NEAREST)}")
    policy = node.text("keep_aspect_ratio_policy", "stretch")
    rank = node.rank()
    axes = tuple(node.axis(a) for a in node.integers("axes") or range(rank))
    sizes_given = node.optional(3) is not None and node.shape(3) != (0,)
    if not sizes_given:
        return _resize(node, _spread(_scales(node, 2), axes, rank, 1.0), (), coordinates, nearest)
    sizes = node.integers_at(3, "sizes")
    if len(sizes) != len(axes):
        raise GraphError(f"sizes are {sizes}, expected {len(axes)} numbers")
    if policy != "stretch":
        ratios = [size / node.shape()[axis] for size, axis in zip(sizes, axes, strict=True)]
        ratio = min(ratios) if policy == "not_larger" else max(ratios)
        sizes = tuple(int(ratio * node.shape()[axis] + 0.5) for axis in axes)
    full = list(node.shape())
    for axis, size in zip(axes, sizes, strict=True):
        full[axis] = size
    if full[0] == node.shape()[0]:
        full[0] = 0  # any batch
    return _resize(node, (), tuple(full), coordinates, nearest)


def _resize(
    node: NodeReader,
    scales: tuple[float, ...],
    sizes: tuple[int, ...],
    coordinates: str,
    nearest: str,
) -> list[Value]:
    if any(not 0 < scale < 2**16 for scale in scales):
        raise GraphError(f"scales are {scales}, expected positive numbers")
    return node.add(Resize(scales, sizes, coordinates, nearest), node.value(0))


def _scales(node: NodeReader, index: int) -> tuple[float, ...]:
    return tuple(float(s) for s in node.constant(index, "scales").reshape(-1))


def _spread(
    values: tuple[float, ...], axes: tuple[int, ...], rank: int, other: float
) -> tuple[float, ...]:
    """Return one value for every axis from those for some."""
    if len(values) != len(axes):
        raise GraphError(f"scales are {values}, expected {len(axes)} numbers")
    found = [other] * rank
    for axis, value in zip(axes, values, strict=True):
        found[axis] = value
    return tuple(found)


def _require_nearest(node: NodeReader) -> None:
    mode = node.text("mode", "nearest")
    if mode != "nearest":
        raise UnsupportedError(f"mode is {mode!r}, expected nearest; export the model with nearest")


def _columns_first(node: NodeReader) -> bool:
    mode = node.text("mode", "DCR")
    if mode not in ("DCR", "CRD"):
        raise GraphError(f"mode is {mode!r}, expected DCR or CRD")
    return mode == "CRD"


def _block(node: NodeReader) -> int:
    block = node.integer("blocksize", 0)
    if not 1 <= block <= 2**12:
        raise GraphError(f"blocksize is {block}, expected a positive number")
    return block
