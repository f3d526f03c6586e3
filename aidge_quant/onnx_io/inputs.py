"""Inputs of the model: their sizes, with the batch left free."""

from collections.abc import Mapping, Sequence

import onnx

from aidge_quant.errors import AidgeQuantError, ShapeError, UnsupportedError
from aidge_quant.graph import GraphView, Port
from aidge_quant.onnx_io.builder import Value, check_size
from aidge_quant.onnx_io.problems import Problems
from aidge_quant.onnx_io.tensors import element_type
from aidge_quant.ops import Input
from aidge_quant.ops.base import Shape


def read_inputs(
    graph: GraphView,
    inputs: Sequence[onnx.ValueInfoProto],
    given: Mapping[str, Sequence[int]],
    problems: Problems,
) -> dict[str, Value | None]:
    """Add the inputs to ``graph`` and return their values; None where a size is missing.

    Raises
    ------
    ShapeError
        If a shape is given for an input that does not exist.
    """
    unknown = sorted(set(given) - {info.name for info in inputs})
    if unknown:
        raise ShapeError(
            f"input_shapes names {unknown}, but the inputs are {[info.name for info in inputs]}"
        )
    values: dict[str, Value | None] = {}
    for info in inputs:
        values[info.name] = None
        try:
            if not info.type.HasField("tensor_type"):
                raise UnsupportedError("it is no tensor (a sequence, a map or optional)")
            shape = _resolved(info, given.get(info.name))
            if not shape:
                raise UnsupportedError("it is a single number, expected an array, batch first")
            check_size(shape)
            kind = element_type(info.type.tensor_type.elem_type)
            node = graph.add_input(Input(shape, kind), info.name)
            values[info.name] = Value(info.name, shape, kind, port=Port(node))
        except AidgeQuantError as error:
            problems.add(info.name, "input", error)
    return values


def _resolved(info: onnx.ValueInfoProto, given: Sequence[int] | None) -> Shape:
    """Return the shape of an input: what the model says, completed by what the caller gives."""
    tensor = info.type.tensor_type
    if not tensor.HasField("shape"):
        if given is None:
            raise ShapeError(f"its shape is open; give it: {_remedy(info.name, '1, ...')}")
        return _integers(given)
    declared = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
    if given is not None:
        wanted = _integers(given)
        fits = len(wanted) == len(declared) and all(
            axis == 0 or size is None or size == w
            for axis, (size, w) in enumerate(zip(declared, wanted, strict=False))
        )
        if not fits:
            raise ShapeError(
                f"input_shapes gives {wanted}, but the model says {_described(tensor)}"
            )
        return wanted
    for axis, dim in enumerate(tensor.shape.dim):
        # exporters write an open size as a name, as nothing, as 0 or as a negative number
        if axis > 0 and (declared[axis] is None or dim.dim_value < 1):
            example = ", ".join(str(s or "1?"[i > 0]) for i, s in enumerate(declared))
            label = f" ({dim.dim_param})" if dim.dim_param else ""
            raise ShapeError(
                f"size {axis}{label} of its shape {_described(tensor)} is open; give it: "
                f"{_remedy(info.name, example)}"
            )
    sizes = [max(size or 1, 1) if axis == 0 else size for axis, size in enumerate(declared)]
    return tuple(int(size) for size in sizes if size is not None)


def _integers(given: Sequence[int]) -> Shape:
    sizes = tuple(given)
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ShapeError(f"input_shapes gives {sizes}, expected positive integers, batch first")
    return sizes


def _described(tensor: onnx.TypeProto.Tensor) -> str:
    sizes = (
        d.dim_param or (str(d.dim_value) if d.HasField("dim_value") else "?")
        for d in tensor.shape.dim
    )
    return f"({', '.join(sizes)})"


def _remedy(name: str, example: str) -> str:
    option = f"{name}={example.replace(' ', '')}"
    return f'load_onnx(..., input_shapes={{"{name}": ({example})}}), or --input-dim {option}'
