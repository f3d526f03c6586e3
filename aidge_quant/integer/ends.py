"""From real numbers to the integers that a network is fed with, and from its results back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from aidge_quant.errors import DataError, DtypeError, ShapeError
from aidge_quant.integer.tensors import IntegerTensor

if TYPE_CHECKING:
    from aidge_quant.integer.network import IntegerNetwork

Arrays = np.ndarray | Mapping[str, np.ndarray]


def by_name(arrays: Arrays, names: Sequence[str], what: str) -> dict[str, np.ndarray]:
    """Return the arrays by model name, in the order of the network.

    Parameters
    ----------
    arrays : array or mapping of arrays
        A bare array only where there is one name.
    names : sequence of str
    what : str
        "input" or "output", for the message.

    Raises
    ------
    DataError
        If names are missing or too many.
    ShapeError
        If the batches differ or are empty.
    """
    if not isinstance(arrays, Mapping):
        if len(names) != 1:
            raise DataError(
                f"one array came for {len(names)} {what}s, expected a mapping with the names "
                f"{', '.join(names)}"
            )
        arrays = {names[0]: arrays}
    if set(arrays) != set(names):
        raise DataError(
            f"{what}s are named {', '.join(map(str, arrays)) or 'nothing'}, expected "
            f"{', '.join(names)}"
        )
    result = {name: arrays[name] for name in names}
    for name, array in result.items():
        if not isinstance(array, np.ndarray):
            raise DtypeError(f"{what} {name} is a {type(array).__name__}, expected a numpy array")
    return result


def expect_batch(array: np.ndarray, tensor: IntegerTensor, name: str, batch: int) -> None:
    """Raise a ShapeError or DataError unless the array is a batch of the tensor in ONNX layout."""
    expected = ("batch", *tensor.onnx_shape)
    if array.shape[1:] != tensor.onnx_shape or array.ndim != len(expected):
        raise ShapeError(
            f"{name} has shape {array.shape}, expected ({', '.join(map(str, expected))})"
        )
    if array.shape[0] == 0:
        raise DataError(f"{name} has shape {array.shape}: the batch is empty")
    if array.shape[0] != batch:
        raise ShapeError(f"{name} is a batch of {array.shape[0]}, expected {batch} as the first")


def bare(arrays: dict[str, np.ndarray]) -> np.ndarray | dict[str, np.ndarray]:
    """Return the array itself where there is one."""
    return next(iter(arrays.values())) if len(arrays) == 1 else arrays


def quantize_input(network: IntegerNetwork, x: Arrays) -> np.ndarray | dict[str, np.ndarray]:
    """Return ``clip(floor(x * (1 / scale) + 0.5) + zero_point)`` for every input, in float64.

    The reciprocal comes first, so that scale 1 / 127 gives floor(127 * x + 0.5) to the last bit.

    Parameters
    ----------
    network : IntegerNetwork
    x : float array (batch, *ONNX shape), or a mapping of them by input name
        Integers count as real values (0..255 of an image), but not those of the type that the
        network stores: they seem to be quantized already.

    Returns
    -------
    int8 or int16 array of the same shape, or a dictionary of them

    Raises
    ------
    ShapeError, DtypeError, DataError
        If an array does not fit the network, or holds NaN or infinity.
    """
    arrays = by_name(x, network.input_names, "input")
    batch = next((len(array) for array in arrays.values() if array.ndim), 0)
    result = {}
    for tensor_name, (name, array) in zip(network.inputs, arrays.items(), strict=True):
        tensor = network.tensor(tensor_name)
        if array.dtype.kind not in "fiu":
            raise DtypeError(f"input {name} is {array.dtype}, expected real numbers")
        if array.dtype == tensor.dtype.numpy:
            raise DtypeError(
                f"input {name} is {array.dtype}, as the network stores it: it seems quantized "
                "already; convert real values that are such integers with astype(numpy.float32)"
            )
        expect_batch(array, tensor, f"input {name}", batch)
        if not np.isfinite(array).all():
            raise DataError(f"input {name} holds NaN or infinity, expected finite numbers")
        steps = np.floor(array.astype(np.float64) * (1.0 / float(tensor.scale)) + 0.5)
        kind = tensor.dtype
        clipped = np.clip(steps + tensor.zero_point, kind.min, kind.max)
        result[name] = clipped.astype(kind.numpy)
    return bare(result)


def dequantize_output(network: IntegerNetwork, q: Arrays) -> np.ndarray | dict[str, np.ndarray]:
    """Return ``scale * (q - zero_point)`` for every output, in float64.

    Parameters
    ----------
    network : IntegerNetwork
    q : integer array (batch, *ONNX shape), or a mapping of them by output name

    Returns
    -------
    float64 array of the same shape, or a dictionary of them

    Raises
    ------
    ShapeError, DtypeError, DataError
        If an array does not fit the network.
    """
    arrays = by_name(q, network.output_names, "output")
    batch = next((len(array) for array in arrays.values() if array.ndim), 0)
    result = {}
    for tensor_name, (name, array) in zip(network.outputs, arrays.items(), strict=True):
        tensor = network.tensor(tensor_name)
        if array.dtype.kind not in "iu":
            raise DtypeError(f"output {name} is {array.dtype}, expected integers")
        expect_batch(array, tensor, f"output {name}", batch)
        stored = tensor.from_onnx(array).astype(np.float64)
        result[name] = tensor.to_onnx(tensor.scale * (stored - tensor.zero_point))
    return bare(result)
