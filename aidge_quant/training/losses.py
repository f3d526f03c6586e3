"""Losses: the mean over a batch, and its gradient."""

import numpy as np

from aidge_quant.errors import DataError, DtypeError, ShapeError


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean cross entropy of softmax(logits), and its gradient.

    Parameters
    ----------
    logits : float array (batch, classes)
    labels : int array (batch,), or float array (batch, classes) of probabilities

    Raises
    ------
    ShapeError, DtypeError, DataError
        If the labels do not fit the logits.
    """
    if logits.ndim != 2:
        raise ShapeError(f"logits have shape {logits.shape}, expected (batch, classes)")
    shifted = logits - logits.max(axis=1, keepdims=True)
    exponents = np.exp(shifted)
    total = exponents.sum(axis=1, keepdims=True)
    probabilities, logs = exponents / total, shifted - np.log(total)
    targets = _targets(labels, logits)
    count = logits.dtype.type(len(logits))
    loss = -float(np.sum(targets * logs, dtype=np.float64)) / len(logits)
    return loss, (probabilities * targets.sum(axis=1, keepdims=True) - targets) / count


def mean_squared_error(outputs: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean of the squared differences over all values, and its gradient.

    Parameters
    ----------
    outputs, targets : float array of one shape

    Raises
    ------
    ShapeError
        If the shapes differ.
    """
    if outputs.shape != targets.shape:
        raise ShapeError(f"targets have shape {targets.shape}, expected {outputs.shape}")
    difference = outputs - targets.astype(outputs.dtype)
    loss = float(np.mean(difference * difference, dtype=np.float64))
    return loss, difference * outputs.dtype.type(2 / outputs.size)


def _targets(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    if labels.shape == logits.shape and labels.dtype.kind == "f":
        return labels.astype(logits.dtype)
    if labels.shape == logits.shape and labels.ndim == 2:
        raise DtypeError(
            f"labels have shape {labels.shape} and type {labels.dtype}, expected floats in that "
            "shape, one-hot or not; pass labels.astype(np.float32), or labels.argmax(axis=1)"
        )
    if labels.shape != logits.shape[:1]:
        raise ShapeError(
            f"labels have shape {labels.shape}, expected ({len(logits)},) of classes or "
            f"{logits.shape} of probabilities"
        )
    classes = labels.astype(np.int64)
    if (classes != labels).any():
        raise DataError("labels are not whole numbers, expected the numbers of classes")
    if classes.size and not 0 <= classes.min() <= classes.max() < logits.shape[1]:
        raise DataError(
            f"labels span {classes.min()} to {classes.max()}, expected 0 to {logits.shape[1] - 1}"
        )
    targets = np.zeros_like(logits)
    targets[np.arange(len(classes)), classes] = 1
    return targets
