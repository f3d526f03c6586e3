"""The state of a training in a file: parameters, statistics, optimizer, history; no pickle."""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aidge_quant.atomic import replace_files
from aidge_quant.errors import FileError

_FORMAT = "aidge_quant training 1"


def save(path: Path, arrays: Mapping[str, np.ndarray], notes: Mapping[str, Any]) -> None:
    """Write arrays and notes, whole or not at all.

    Parameters
    ----------
    path : Path
    arrays : mapping of array by name
    notes : mapping, of what JSON holds
    """
    text = json.dumps({"format": _FORMAT, **notes}).encode()
    buffer = io.BytesIO()
    filed: dict[str, Any] = {f"array/{name}": value for name, value in arrays.items()}
    np.savez(buffer, **filed, notes=np.frombuffer(text, np.uint8))
    replace_files({path: buffer.getvalue()})


def load(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and the notes of a file that ``save`` wrote.

    Raises
    ------
    FileError
        If it is no such file.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            notes = json.loads(stored["notes"].tobytes())
            arrays = {
                name.removeprefix("array/"): stored[name]
                for name in stored.files
                if name.startswith("array/")
            }
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise FileError(f"{path} is no checkpoint of a training: {error}") from error
    if not isinstance(notes, dict) or notes.get("format") != _FORMAT:
        raise FileError(f"{path} is no checkpoint of this version: expected {_FORMAT!r}")
    return arrays, notes
