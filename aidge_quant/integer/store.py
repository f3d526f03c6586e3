"""Integer networks as files, and their digest.

A file is an uncompressed npz without pickles: ``header`` holds UTF-8 JSON, one more array for each
array of the network. The header is made from the fields of the dataclasses, so that a new class of
layers needs nothing here but its place in ``LAYERS``. Equal networks give equal bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aidge_quant.atomic import replace_files
from aidge_quant.dtypes import dtype
from aidge_quant.errors import AidgeQuantError, FileError
from aidge_quant.integer.layers import LAYERS
from aidge_quant.integer.requantization import Requantization
from aidge_quant.integer.tensors import IntegerTensor

if TYPE_CHECKING:
    from aidge_quant.integer.network import IntegerNetwork

FORMAT = "aidge_quant integer network"
VERSION = 1

_CLASSES = {cls.__name__: cls for cls in (*LAYERS, Requantization, IntegerTensor)}
# Fields without influence on the results.
_PROVENANCE = ("name", "metadata")
_EPOCH = (1980, 1, 1, 0, 0, 0)

Keep = Callable[[np.ndarray], object]


def _encoded(value: Any, keep: Keep) -> Any:
    """Return a value as JSON, with ``keep`` saying what stands for an array."""
    if isinstance(value, np.ndarray):
        return {"array": keep(value)}
    if isinstance(value, dtype):
        return {"dtype": value.value}
    if dataclasses.is_dataclass(value):
        return {"class": type(value).__name__, "fields": _fields(value, keep)}
    if isinstance(value, Mapping):
        return {"map": {str(key): _encoded(value[key], keep) for key in sorted(value)}}
    if isinstance(value, tuple | list):
        return [_encoded(item, keep) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise FileError(f"a {type(value).__name__} cannot be stored: {value!r}")


def _fields(value: Any, keep: Keep, without: tuple[str, ...] = ()) -> dict[str, Any]:
    names = (field.name for field in dataclasses.fields(value) if field.name not in without)
    return {name: _encoded(getattr(value, name), keep) for name in names}


def _decoded(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """Return what ``_encoded`` was given; lists come back as tuples."""
    if isinstance(value, list):
        return tuple(_decoded(item, arrays) for item in value)
    if not isinstance(value, dict):
        return value
    if value.keys() == {"array"}:
        return arrays[value["array"]]
    if value.keys() == {"dtype"}:
        return dtype(value["dtype"])
    if value.keys() == {"map"}:
        return {key: _decoded(item, arrays) for key, item in value["map"].items()}
    if value.keys() == {"class", "fields"}:
        if value["class"] not in _CLASSES:
            raise FileError(
                f"it holds a {value['class']}, which this version does not know; read it with a "
                "newer version"
            )
        return _made(_CLASSES[value["class"]], value["fields"], arrays)
    raise FileError(f"its header holds an entry of no known form: {sorted(value)}")


def _made(cls: type, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
    expected = [field.name for field in dataclasses.fields(cls)]
    if sorted(fields) != sorted(expected):
        raise FileError(
            f"a {cls.__name__} in it has fields {', '.join(sorted(fields))}, expected "
            f"{', '.join(sorted(expected))}"
        )
    return cls(**{name: _decoded(value, arrays) for name, value in fields.items()})


def _little(array: np.ndarray) -> np.ndarray:
    """Return the array C-contiguous and little-endian, whatever the machine."""
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(array.shape)


def _archive(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return an npz whose bytes depend on the arrays only."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            info.create_system = 3  # one value on every system
            info.external_attr = 0o644 << 16
            archive.writestr(info, member.getvalue())
    return buffer.getvalue()


def save_network(network: IntegerNetwork, path: str | Path) -> None:
    """Write the network to one file; an existing file is replaced at once or not at all.

    Parameters
    ----------
    network : IntegerNetwork
    path : str or Path

    Raises
    ------
    FileError
        If the file cannot be written.
    """
    arrays: dict[str, np.ndarray] = {}

    def keep(array: np.ndarray) -> str:
        name = f"array{len(arrays)}"
        arrays[name] = _little(array)
        return name

    header = {"format": FORMAT, "version": VERSION, "network": _fields(network, keep)}
    text = json.dumps(header, ensure_ascii=False, allow_nan=False).encode()
    data = _archive({"header": np.frombuffer(text, np.uint8), **arrays})
    target = Path(path)
    try:
        replace_files({target: data})
    except OSError as error:
        raise FileError(f"cannot write {target}: {error.strerror or error}") from error


def load_network(path: str | Path) -> IntegerNetwork:
    """Return the network that ``save_network`` wrote.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    FileError
        If the file is missing, damaged, not of this kind or of an unknown version.
    """
    source = Path(path)
    try:
        return _read(source)
    except OSError as error:  # a FileError too
        reason = str(error) if isinstance(error, FileError) else error.strerror or str(error)
        raise FileError(f"cannot read {source}: {reason}") from error
    except AidgeQuantError as error:
        raise FileError(f"cannot read {source}: its network is not valid: {error}") from error
    except (zipfile.BadZipFile, EOFError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise FileError(
            f"cannot read {source}: expected a file written by IntegerNetwork.save, came one that "
            f"is damaged or of another kind ({error})"
        ) from error


def _read(source: Path) -> IntegerNetwork:
    from aidge_quant.integer import network  # it imports this module

    with zipfile.ZipFile(source) as archive:
        arrays = {}
        for name in archive.namelist():
            member = io.BytesIO(archive.read(name))
            arrays[name.removesuffix(".npy")] = np.lib.format.read_array(member, allow_pickle=False)
    header = json.loads(arrays["header"].tobytes())
    if header["format"] != FORMAT:
        raise FileError(f"its format is {header['format']!r}, expected {FORMAT!r}")
    if header["version"] != VERSION:
        raise FileError(
            f"its format version is {header['version']}, expected {VERSION}; read it with the "
            "version of aidge_quant that wrote it"
        )
    contract = header["network"].get("contract")
    if contract != network.CONTRACT_VERSION:
        raise FileError(
            f"its integer contract is {contract}, expected {network.CONTRACT_VERSION}; read it "
            "with the version of aidge_quant that wrote it"
        )
    native = {name: array.astype(array.dtype.newbyteorder("=")) for name, array in arrays.items()}
    return _made(network.IntegerNetwork, header["network"], native)


def digest(network: IntegerNetwork) -> str:
    """Return the SHA-256, hexadecimal, over all that decides the results.

    Left out are the network's name, its metadata, and the graph nodes that layers stand for.
    """

    def keep(array: np.ndarray) -> list[object]:
        content = hashlib.sha256(_little(array).tobytes()).hexdigest()
        return [array.dtype.name, list(array.shape), content]

    fields = _fields(network, keep, _PROVENANCE)
    for layer in fields["layers"]:
        del layer["fields"]["source"]
    text = json.dumps(fields, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
