"""Calibration sets: from what callers hold to checked float32 batches."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from aidge_quant.errors import DataError, DtypeError, ShapeError
from aidge_quant.graph import GraphView
from aidge_quant.tensor import Tensor

BATCH = 64

Batch = dict[str, np.ndarray]
Calibration = Iterable[Any] | Mapping[str, Any] | np.ndarray | Tensor


class CalibrationBatches(list[Batch]):
    """Checked batches: a list of dictionaries, input name to float32 array (batch, *shape)."""


def calibration_batches(network: GraphView, calibration_set: Calibration) -> CalibrationBatches:
    """Return the calibration set as float32 batches by input name.

    Parameters
    ----------
    calibration_set : list of Tensor or array, one array, any iterable of them
        Each element is a batch of one or more samples, batch axis first (a sample without batch
        axis is taken as one). One array is a batch of samples. A network with several inputs takes
        dictionaries by input name, or one dictionary of arrays.

    Raises
    ------
    DataError
        If the set is empty or holds NaN or infinity.
    ShapeError, DtypeError
        If an element does not fit the input, or is not numeric.
    """
    if isinstance(calibration_set, CalibrationBatches):
        return calibration_set
    if isinstance(calibration_set, np.ndarray | Tensor | Mapping):
        calibration_set = [calibration_set]
    if isinstance(calibration_set, str | bytes) or not isinstance(calibration_set, Iterable):
        raise DtypeError(
            f"calibration set: expected arrays or Tensors, got {type(calibration_set).__name__}"
        )
    elements = [_element(network, i, element) for i, element in enumerate(calibration_set)]
    if not elements:
        raise DataError("calibration set: expected at least one sample, got none")
    batches = CalibrationBatches()
    for name in elements[0]:
        joined = np.concatenate([element[name] for element in elements])
        for number, start in enumerate(range(0, joined.shape[0], BATCH)):
            if number == len(batches):
                batches.append({})
            batches[number][name] = joined[start : start + BATCH]
    return batches


def require_signal(batches: CalibrationBatches) -> None:
    """Raise a DataError if a calibration set holds nothing but zeros."""
    if not any(np.any(array) for batch in batches for array in batch.values()):
        raise DataError(
            "calibration set: all values are 0, which says nothing of the ranges; expected samples "
            "such as the network is to see"
        )


def _element(network: GraphView, index: int, element: Any) -> Batch:
    names = [node.name for node in network.inputs]
    if not isinstance(element, Mapping):
        if len(names) != 1:
            raise ShapeError(
                f"calibration element {index}: the network has inputs {names}, expected a "
                f"dictionary of arrays by name, got {type(element).__name__}"
            )
        element = {names[0]: element}
    if set(element) != set(names):
        raise ShapeError(
            f"calibration element {index}: expected inputs {names}, got {sorted(element)}"
        )
    batch = {}
    for node in network.inputs:
        what = f"calibration element {index}, input {node.name}"
        batch[node.name] = _checked(what, element[node.name], node.operator.shape)
    if len({array.shape[0] for array in batch.values()}) > 1:
        raise ShapeError(f"calibration element {index}: its inputs have batches of different sizes")
    return batch


def _checked(what: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ShapeError(f"{what}: expected an array, got a ragged sequence") from error
    if array.dtype.kind not in "iuf":
        raise DtypeError(f"{what}: has type {array.dtype}, expected real numbers")
    if array.ndim == len(shape) - 1:
        array = array[None]
    if array.ndim != len(shape) or array.shape[1:] != shape[1:]:
        expected = ("batch", *shape[1:])
        raise ShapeError(f"{what}: has shape {np.shape(value)}, expected {expected}")
    if array.size == 0:
        raise DataError(f"{what}: expected at least one sample, got none")
    with np.errstate(over="ignore"):  # infinite then, which is refused below
        converted = array.astype(np.float32)
    bad = ~np.isfinite(converted).reshape(len(converted), -1).all(axis=1)
    if bad.any():
        raise DataError(
            f"{what}: sample {int(bad.argmax())} holds NaN or infinity, expected finite numbers"
        )
    return converted
