"""Operators that exchange channels for positions, and nearest-neighbour resizing."""

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import UnsupportedError
from aidge_quant.onnx_io.dimensions import Dims
from aidge_quant.onnx_io.node_writer import NodeWriter, Wire
from aidge_quant.onnx_io.writers.registry import from_table, writes
from aidge_quant.ops import Resize, SpaceToDepth


@writes("SpaceToDepth")
def space_to_depth(node: NodeWriter) -> None:
    """Write; in versions without the choice, the other order of channels is a permutation."""
    operator, data = node.operator, node.input()
    assert isinstance(operator, SpaceToDepth)
    if not operator.columns_first or node.has_attribute("SpaceToDepth", "mode"):
        from_table(node)
        return
    channels, (_, *found), square = data.shape[1], node.outputs[0].shape, operator.block**2
    parts: Dims = (data.shape[0], square, channels, *found[1:])
    moved: Dims = (data.shape[0], channels, square, *found[1:])
    blocks = node.emit(
        "SpaceToDepth",
        data,
        suffix="blocks",
        shape=node.outputs[0].shape,
        blocksize=operator.block,
    )
    split = node.emit("Reshape", blocks, _kept(node, parts, "parts"), suffix="split", shape=parts)
    turned = node.emit("Transpose", split, suffix="turned", shape=moved, perm=[0, 2, 1, 3, 4])
    node.finish("Reshape", turned, _kept(node, node.outputs[0].shape, "shape"))


@writes("Resize")
def resize(node: NodeWriter) -> None:
    """Write by scales where they give the sizes exactly, so that the batch stays free."""
    operator, data = node.operator, node.input()
    assert isinstance(operator, Resize)
    scales = operator.scales or _exact_scales(operator.sizes, data.shape)
    if node.opset < 11:
        _upsample(node, scales)
        return
    if operator.coordinates == "half_pixel_symmetric":
        node.require(19, "half_pixel_symmetric")
    # the first version of this form has no optional inputs, but empty ones
    empty = node.constant(np.zeros(0, np.float32), "none") if node.opset < 13 else None
    modes = {
        "mode": "nearest",
        "coordinate_transformation_mode": operator.coordinates,
        "nearest_mode": operator.nearest,
    }
    if scales:
        node.finish("Resize", data, empty, _floats(node, scales), **modes)
        return
    sizes, axes = _sizes(node, operator.sizes, data)
    node.finish("Resize", data, empty, empty, sizes, axes=axes, **modes)


def _upsample(node: NodeWriter, scales: tuple[float, ...]) -> None:
    """Write the forms that know scales only, and no other coordinates."""
    operator = node.operator
    assert isinstance(operator, Resize)
    if not scales or (operator.coordinates, operator.nearest) != ("asymmetric", "floor"):
        node.require(11, f"sizes, or {operator.coordinates} with {operator.nearest},")
    if node.has_attribute("Upsample", "scales"):
        node.finish("Upsample", node.input(), mode="nearest", scales=scales)
        return
    name = "Resize" if node.opset == 10 else "Upsample"
    node.finish(name, node.input(), _floats(node, scales), mode="nearest")


def _sizes(
    node: NodeWriter, sizes: tuple[int, ...], data: Wire
) -> tuple[Wire, tuple[int, ...] | None]:
    """Return the sizes as an input, and the axes they are for (None: all)."""
    full = [wanted or size for wanted, size in zip(sizes, data.shape, strict=True)]
    known = [size for size in full if isinstance(size, int)]
    if len(known) == len(full):
        return node.integers(known, "sizes"), None
    if node.opset >= 18:
        axes = tuple(axis for axis, wanted in enumerate(sizes) if wanted)
        return node.integers((sizes[axis] for axis in axes), "sizes"), axes
    if len(known) < len(full) - 1 or isinstance(full[0], int):
        raise UnsupportedError(f"its data has shape {data.shape}: more than the batch is open")
    rank, whole = len(full), dtype.int64
    shape = node.emit("Shape", data, suffix="shape", shape=(rank,), stored=whole)
    bounds = [node.integers([n], name) for n, name in enumerate(("start", "end"))]
    batch = node.emit("Slice", shape, *bounds, suffix="batch", shape=(1,))
    rest = node.integers(known, "rest")
    return node.emit("Concat", batch, rest, suffix="sizes", shape=(rank,), axis=0), None


def _exact_scales(sizes: tuple[int, ...], shape: Dims) -> tuple[float, ...]:
    """Return scales that give the sizes without rounding; none where there are not such."""
    scales = []
    for wanted, size in zip(sizes, shape, strict=True):
        if wanted and not isinstance(size, int):
            return ()
        scale = float(np.float32(wanted / size)) if wanted and isinstance(size, int) else 1.0
        if wanted and isinstance(size, int) and scale * size != wanted:
            return ()
        scales.append(scale)
    return tuple(scales)


def _floats(node: NodeWriter, values: tuple[float, ...]) -> Wire:
    return node.constant(np.array(values, np.float32), "scales")


def _kept(node: NodeWriter, shape: Dims, suffix: str) -> Wire:
    """Return a shape with the batch copied from the data."""
    sizes = [size if isinstance(size, int) else -1 for size in shape[1:]]
    return node.integers([0, *sizes], suffix)
