"""Element types and constant tensors: from ONNX's to ours and back."""

import numpy as np
import onnx
from onnx import numpy_helper

from aidge_quant.dtypes import dtype
from aidge_quant.errors import DataError, DtypeError, GraphError, UnsupportedError

#: ONNX's number of an element type, to ours.
ELEMENT_TYPES: dict[int, dtype] = {
    onnx.TensorProto.FLOAT: dtype.float32,
    onnx.TensorProto.DOUBLE: dtype.float64,
    onnx.TensorProto.FLOAT16: dtype.float16,
    onnx.TensorProto.INT4: dtype.int4,
    onnx.TensorProto.INT8: dtype.int8,
    onnx.TensorProto.INT16: dtype.int16,
    onnx.TensorProto.INT32: dtype.int32,
    onnx.TensorProto.INT64: dtype.int64,
    onnx.TensorProto.UINT4: dtype.uint4,
    onnx.TensorProto.UINT8: dtype.uint8,
    onnx.TensorProto.UINT16: dtype.uint16,
    onnx.TensorProto.UINT32: dtype.uint32,
    onnx.TensorProto.UINT64: dtype.uint64,
    onnx.TensorProto.BOOL: dtype.boolean,
}

#: Our type to ONNX's number of it.
TYPE_NUMBERS: dict[dtype, int] = {ours: number for number, ours in ELEMENT_TYPES.items()}


def element_type(number: int) -> dtype:
    """Return our type for ONNX's number of an element type.

    Raises
    ------
    UnsupportedError
        If there is none (text, complex, bfloat16, float8...).
    """
    if number in ELEMENT_TYPES:
        return ELEMENT_TYPES[number]
    known = number in onnx.TensorProto.DataType.values()
    name = onnx.TensorProto.DataType.Name(number) if known else f"number {number}"
    raise UnsupportedError(f"element type {name} is not handled; store the tensor as FLOAT")


def array_of(tensor: onnx.TensorProto) -> np.ndarray:
    """Return the values of a constant; int4 and uint4 in an int8 or uint8 array.

    Raises
    ------
    UnsupportedError
        If the element type is not handled.
    GraphError
        If the data does not fill the declared shape.
    """
    stored = element_type(tensor.data_type)
    try:
        return (
            np.ascontiguousarray(numpy_helper.to_array(tensor))
            .astype(stored.numpy, copy=False)
            .reshape(tuple(tensor.dims))
        )
    except (ValueError, TypeError, OverflowError, MemoryError) as error:
        raise GraphError(
            f"constant {tensor.name!r} of shape {list(tensor.dims)} is malformed: {error}"
        ) from error


def dtype_of(array: np.ndarray) -> dtype:
    """Return the element type of an array, or an UnsupportedError."""
    try:
        return dtype.of(array)
    except DtypeError as error:
        raise UnsupportedError(str(error)) from error


def tensor_of(name: str, array: np.ndarray, stored: dtype) -> onnx.TensorProto:
    """Return a constant as ONNX stores it: little-endian bytes, two int4 or uint4 to a byte.

    Raises
    ------
    DataError
        If the element type cannot hold a value.
    """
    with np.errstate(invalid="ignore"):
        values = np.ascontiguousarray(array).astype(stored.numpy, copy=False)
    if stored.is_integer and values.size:
        whole = np.array_equal(values.reshape(array.shape), array)
        if not whole or values.min() < stored.min or values.max() > stored.max:
            raise DataError(f"constant {name!r} has values that {stored.value} cannot hold")
    tensor = onnx.TensorProto(name=name, data_type=TYPE_NUMBERS[stored], dims=array.shape)
    if stored.bits < 8:
        halves = values.reshape(-1).view(np.uint8) & 15
        halves = np.append(halves, np.zeros(halves.size % 2, np.uint8))
        values = halves[::2] | halves[1::2] << 4
    tensor.raw_data = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    return tensor
