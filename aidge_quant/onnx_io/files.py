"""Files: from a path to a model whose tensors are all in memory and back, or a clear FileError."""

from collections.abc import Iterator
from os import PathLike
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from aidge_quant.atomic import replace_files
from aidge_quant.errors import FileError

#: Bytes of parameters up to which a model is written as one file.
EXTERNAL_DATA_THRESHOLD = 1_500_000_000

#: Bytes of parameters up to which a model surely is a valid message (they end at 2**31).
LARGEST_MESSAGE = 2_000_000_000

#: Smaller tensors stay in the model's file: shapes and axes are needed to understand it.
_SMALLEST_EXTERNAL = 1024


def load_model(path: str | PathLike[str]) -> onnx.ModelProto:
    """Return the model stored at ``path`` with its external data loaded.

    External data is read only from the folder of the model and below it.

    Raises
    ------
    FileError
        If the file is missing, unreadable or not an ONNX model, or its external data is missing,
        too short or outside the folder of the model.
    """
    path = Path(path)
    model = parse_model(_read(path), str(path))
    for tensor in _tensors(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            _load_external(tensor, path)
    return model


def parse_model(data: bytes, source: str) -> onnx.ModelProto:
    """Return the model that ``data`` holds; ``source`` names it in messages.

    Raises
    ------
    FileError
        If the bytes are no ONNX model.
    """
    if not data:
        raise FileError(f"{source} is empty, expected an ONNX model")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise FileError(
            f"{source} is not an ONNX model, or it is cut off: {len(data)} bytes do not decode"
        ) from error
    if not model.HasField("graph") or not model.graph.output or not model.opset_import:
        raise FileError(
            f"{source} is not an ONNX model: it holds no graph with outputs, or no operator set"
        )
    return model


def save_model(model: onnx.ModelProto, path: Path, *, external_data_threshold: int) -> None:
    """Write a model; an existing file is replaced at once or not at all.

    Parameters
    ----------
    external_data_threshold : int
        Where the initializers have more bytes than this, those of the model, in place, move to
        ``<file name>.data`` beside it.

    Raises
    ------
    FileError
        If a file cannot be written.
    """
    if path.is_dir():
        raise FileError(f"{path} is a folder, expected the name of an ONNX file to write")
    if not path.parent.is_dir():
        raise FileError(f"cannot write {path}: there is no folder {path.parent}; make it first")
    contents: dict[Path, bytes | list[bytes]] = {}
    most = min(external_data_threshold, LARGEST_MESSAGE)
    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) > most:
        data = path.with_name(f"{path.name}.data")
        contents[data] = _externalize(model.graph, data.name)
    contents[path] = model.SerializeToString(deterministic=True)
    try:
        replace_files(contents)
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror or error}") from error


def _externalize(graph: onnx.GraphProto, location: str) -> list[bytes]:
    """Replace the bytes of the initializers by places in a file, and return what it holds."""
    parts: list[bytes] = []
    offset = 0
    for tensor in graph.initializer:
        data = tensor.raw_data
        if len(data) < _SMALLEST_EXTERNAL:
            continue
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        place = {"location": location, "offset": str(offset), "length": str(len(data))}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=value)
        parts.append(data)
        offset += len(data)
    return parts


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise FileError(f"{path} is a folder, expected an ONNX file")
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise FileError(f"{path} does not exist, expected an ONNX file") from error
    except (OSError, ValueError) as error:
        raise FileError(f"{path} cannot be read: {error}") from error


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Yield every tensor of a graph, those in attributes and in subgraphs too."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _tensors(inner)


def _load_external(tensor: onnx.TensorProto, model_path: Path) -> None:
    """Replace the reference of ``tensor`` to another file by the bytes it refers to."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    thing = f"{model_path}: tensor {tensor.name!r}"
    folder = model_path.resolve().parent
    place = (folder / entries.get("location", "")).resolve()
    if not entries.get("location") or not place.is_relative_to(folder):
        raise FileError(
            f"{thing} keeps its data in {entries.get('location')!r}, expected a file in the folder "
            "of the model or below it"
        )
    if not place.is_file():
        raise FileError(
            f"{thing} keeps its data in {entries['location']!r}, which does not exist beside the "
            "model; copy it there"
        )
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries.get("length", place.stat().st_size - offset))
    except ValueError as error:
        raise FileError(f"{thing} has an external offset or length that is no number") from error
    if offset < 0 or length < 0 or offset + length > place.stat().st_size:
        raise FileError(
            f"{thing} expects {length} bytes at offset {offset} of {place.name}, which has only "
            f"{place.stat().st_size}"
        )
    with place.open("rb") as file:
        file.seek(offset)
        tensor.raw_data = file.read(length)
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]
