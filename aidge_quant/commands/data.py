"""Arrays from .npz and .npy files, with errors that name the file."""

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aidge_quant.errors import DataError, FileError, ShapeError

#: Names under which samples are looked for in an .npz file, in this order, and the names of the
#: labels that go with each.
CALIBRATION_KEYS = {
    "calibration": ("labels", "calibration_labels"),
    "calib": ("calib_y", "labels"),
    "x_calib": ("y_calib", "labels"),
    "x": ("y", "labels"),
    "input": ("labels", "y"),
    "data": ("labels", "y"),
    "test": ("test_y", "labels"),
    "x_test": ("y_test", "labels"),
}
TEST_KEYS = {
    key: CALIBRATION_KEYS[key] for key in ("test", "x_test", "x", "input", "data")
} | CALIBRATION_KEYS


@dataclass(frozen=True, eq=False)
class Samples:
    """What a file holds for a network.

    Attributes
    ----------
    values : float32 array (batch, *shape)
    labels : int array (batch,) or None
    """

    values: np.ndarray
    labels: np.ndarray | None

    def first(self, count: int | None) -> "Samples":
        """Return the first ``count`` samples, with their labels."""
        return Samples(self.values[:count], None if self.labels is None else self.labels[:count])


def load_samples(
    path: str | Path,
    keys: Mapping[str, tuple[str, ...]],
    key: str | None = None,
    labels: str | None = None,
    *,
    option: str = "--key",
) -> Samples:
    """Return the samples of a .npy or .npz file, batch first, with the labels that belong to them.

    Parameters
    ----------
    path : path of the file
    keys : mapping of str to tuple of str
        Names to look for, in order, and the names of their labels.
    key, labels : str, optional
        Names of the arrays in the .npz file; by default the first of ``keys``, or the only
        array, and the labels that go with it, if there are as many.
    option : str
        The option of the command that names the array.

    Raises
    ------
    FileError
        If the file is missing or not numpy's.
    DataError, ShapeError
        If an array is absent, ambiguous, not numeric, or not a batch.
    """
    arrays = _arrays(path)
    name = key or next((k for k in keys if k in arrays), None)
    if name is None and len(arrays) == 1:
        name = next(iter(arrays))
    if name is None or name not in arrays:
        wanted = f"array {key!r}" if key else f"an array named {', '.join(keys)}"
        raise DataError(
            f"{path} holds {', '.join(sorted(arrays)) or 'nothing'}, expected {wanted}; "
            f"name it with {option}"
        )
    values = arrays[name]
    if values.dtype.kind not in "fiub":
        raise DataError(f"{path}: array {name!r} has type {values.dtype}, expected numbers")
    if values.ndim < 2 or len(values) == 0:
        raise ShapeError(f"{path}: array {name!r} has shape {values.shape}, expected samples")
    with np.errstate(over="ignore"):  # infinite then, which is refused with the sample's number
        converted = values.astype(np.float32)
    return Samples(converted, _labels(path, arrays, name, len(values), keys, labels))


def _labels(
    path: str | Path,
    arrays: Mapping[str, np.ndarray],
    name: str,
    count: int,
    keys: Mapping[str, tuple[str, ...]],
    wanted: str | None,
) -> np.ndarray | None:
    for label in (wanted,) if wanted else keys.get(name, ()):
        found = arrays.get(label)
        if found is not None and found.shape == (count,) and found.dtype.kind in "iu":
            return found
    if wanted:
        raise DataError(f"{path} has no array {wanted!r} of {count} integer labels")
    return None


def sha256(path: str | Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _arrays(path: str | Path) -> dict[str, np.ndarray]:
    found = Path(path)
    if not found.is_file():
        kind = "is a folder" if found.is_dir() else "does not exist"
        raise FileError(f"{path} {kind}, expected an .npy or .npz file")
    try:
        loaded = np.load(found, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"array": loaded}
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise FileError(
            f"{path} is not an .npy or .npz file of plain arrays, or it is cut off; "
            "numpy.savez writes one"
        ) from error
