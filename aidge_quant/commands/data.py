"""Arrays from .npz and .npy files, with errors that name the file."""

import hashlib
import zipfile
from pathlib import Path

import numpy as np

from aidge_quant.errors import DataError, FileError

#: Names under which samples are looked for in an .npz file, in this order.
SAMPLE_KEYS = ("calibration", "calib", "x_calib", "x", "test", "x_test", "input", "data")
#: The same for the labels that go with them.
LABEL_KEYS = ("labels", "calib_y", "y_calib", "y", "test_y", "y_test")


def load_samples(path: str | Path, key: str | None = None) -> np.ndarray:
    """Return the samples of a .npy or .npz file as float32, batch first.

    Parameters
    ----------
    path : path of the file
    key : str, optional
        Name of the array in the .npz file; by default the first of ``SAMPLE_KEYS``, or the only
        array.

    Raises
    ------
    FileError
        If the file is missing or not numpy's.
    DataError
        If the array is absent, ambiguous, or not numeric.
    """
    arrays = _arrays(path)
    name = key or next((k for k in SAMPLE_KEYS if k in arrays), None)
    if name is None and len(arrays) == 1:
        name = next(iter(arrays))
    if name is None or name not in arrays:
        wanted = f"array {key!r}" if key else f"an array named {', '.join(SAMPLE_KEYS)}"
        raise DataError(f"{path} holds {sorted(arrays)}, expected {wanted}; name it with --key")
    samples = arrays[name]
    if samples.dtype.kind not in "fiub":
        raise DataError(f"{path}: array {name!r} has type {samples.dtype}, expected numbers")
    return samples.astype(np.float32)


def load_labels(path: str | Path, count: int, key: str | None = None) -> np.ndarray | None:
    """Return the class indices (count,) of a file, or None if it has none of that length."""
    arrays = _arrays(path)
    names = (key,) if key else LABEL_KEYS
    for name in names:
        if name in arrays and arrays[name].shape == (count,) and arrays[name].dtype.kind in "iu":
            return arrays[name]
    if key:
        raise DataError(f"{path} has no array {key!r} of {count} integer labels")
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
        raise FileError(f"{path}: there is no such file")
    try:
        loaded = np.load(found, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"array": loaded}
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise FileError(f"{path} is not an .npy or .npz file of plain arrays: {error}") from error
