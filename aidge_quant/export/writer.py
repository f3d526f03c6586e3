"""Write an integer network as a folder of C, all of it or nothing."""

import hashlib
import json
import os
import random
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aidge_quant._version import __version__
from aidge_quant.errors import FileError
from aidge_quant.export import ctext
from aidge_quant.export.budgets import check_budgets
from aidge_quant.export.context import Export, build_export, golden_context
from aidge_quant.export.render import environment, render
from aidge_quant.export.target import GENERIC
from aidge_quant.integer.network import Arrays, IntegerNetwork

#: The file by which an export is known, and the line in it.
METADATA = "metadata.json"
KIND = "aidge_quant C export"

#: Cases of the self-test where the caller gives none.
DEFAULT_CASES = 2

# template -> path in the export, with NAME for the network's name
_FILES = {
    "README.md.j2": "README.md",
    "Makefile.j2": "Makefile",
    "CMakeLists.txt.j2": "CMakeLists.txt",
    "net.h.j2": "include/NAME.h",
    "net.c.j2": "src/NAME.c",
    "kernels.h.j2": "src/NAME_kernels.h",
    "weights.h.j2": "src/NAME_weights.h",
    "selftest.c.j2": "test/NAME_selftest.c",
    "golden.h.j2": "test/NAME_golden.h",
}


def export_c(
    network: IntegerNetwork,
    path: str | Path,
    *,
    name: str,
    test_inputs: Arrays | None = None,
    overwrite: bool = False,
    options: Mapping[str, str] | None = None,
    target: str = GENERIC,
    input_in_arena: bool = False,
    stripes: bool = False,
    regions: Mapping[str, int] | None = None,
    ram_budget: int | None = None,
    flash_budget: int | None = None,
) -> Path:
    """Write ``network`` as a folder of standalone C99 and return the folder.

    The same arguments give the same bytes. The folder appears in one step: a failure leaves
    nothing behind.

    Parameters
    ----------
    network : IntegerNetwork
    path : path of the folder to make
        It must not exist, or be empty, unless ``overwrite``.
    name : str
        Prefix of every C identifier and file: letters, digits and _, a letter first.
    test_inputs : integer array (cases, *ONNX shape), or a mapping of them by input name
        Cases of the self-test, as `IntegerNetwork.quantize_input` returns them; a few fixed
        pseudo-random ones if None.
    overwrite : bool
        Replace an earlier export. A folder that is not one is never touched.
    options : mapping of str to str
        Recorded in metadata.json.
    target : {"generic", "cortex-m0", "cortex-m4", "cortex-m55", "rv32"}
        What the C is fast on: it chooses the kernels and the order of the weights. The C of every
        target computes the same on every machine. All but "cortex-m55" print the same kernels,
        fast on all cores without vectors.
    input_in_arena : bool
        Give the inputs a place in the working memory, which is used again when they have been
        read: ``kws_input(&net)`` is where to write them. Without, they stay where the caller has
        them.
    stripes : bool
        Compute the first layers in horizontal stripes if that needs less working memory, so that
        the largest tensors never exist whole. Rows that two stripes need are computed twice.
    regions : mapping of str to int, optional
        Memories besides the one of ``kws_t``, the fastest first: name and bytes, for example
        ``{"dtcm": 16384}``. Each becomes a type of its own, ``kws_dtcm_t``, that the caller places
        and gives to ``kws_init``; it is filled with what is read and written most often.
    ram_budget, flash_budget : int or None
        Bytes that the working memory ``kws_t`` and the parameters may take; the inputs and outputs
        that the caller keeps, code and stack are not in them. An export that does not fit fails
        and says what would help.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ExportError
        If the name or the target cannot be used, layers have no C (all of them are listed), or a
        budget is exceeded.
    FileError
        If the folder is in the way or cannot be written.
    ShapeError, DtypeError, DataError
        If ``test_inputs`` do not fit the network.
    """
    folder = check_export(path, name=name, overwrite=overwrite)
    choices = {"input_in_arena": input_in_arena, "stripes": stripes}
    export = build_export(network, name, target, regions=regions, ram_budget=ram_budget, **choices)
    check_budgets(export, ram_budget, flash_budget, **choices)
    files = _render(export, network, name, test_inputs, options)
    try:
        _replace(folder, files)
    except OSError as error:
        raise FileError(f"cannot write the export {folder}: {error.strerror or error}") from error
    return folder


def check_export(path: str | Path, *, name: str, overwrite: bool = False) -> Path:
    """Raise unless an export called ``name`` may be written to ``path``; return the path.

    Raises
    ------
    ExportError
        If the name cannot prefix C identifiers.
    FileError
        If a file or a folder is in the way.
    """
    ctext.check_name(name)
    folder = Path(path)
    above = next(parent for parent in folder.resolve().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise FileError(f"{folder} cannot be made: {above} is no folder that can be written")
    if not folder.exists() and not folder.is_symlink():
        return folder
    if not folder.is_dir():
        raise FileError(f"{folder} is a file, expected a folder or nothing; choose another path")
    if not any(folder.iterdir()):
        return folder
    if not overwrite:
        raise FileError(
            f"{folder} exists and is not empty; remove it, choose another path, or ask to overwrite"
        )
    if not _is_export(folder):
        raise FileError(
            f"{folder} is not an earlier export (it has no {METADATA} of one), so it is not "
            "overwritten; remove it or choose another path"
        )
    return folder


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Return the contents of an export's metadata.json.

    Raises
    ------
    FileError
        If the folder is not an export.
    """
    folder = Path(path)
    if not _is_export(folder):
        raise FileError(f"{folder} is not a folder written by export_c: no {METADATA} of one")
    metadata: dict[str, Any] = json.loads((folder / METADATA).read_text(encoding="utf-8"))
    return metadata


def _render(
    export: Export,
    network: IntegerNetwork,
    name: str,
    test_inputs: Arrays | None,
    options: Mapping[str, str] | None,
) -> dict[str, str]:
    """Return the texts of an export by path, metadata.json last."""
    q = example_inputs(network) if test_inputs is None else test_inputs
    expected = network.run(q)
    inputs = q if isinstance(q, Mapping) else {network.input_names[0]: q}
    outputs = expected if isinstance(expected, Mapping) else {network.output_names[0]: expected}
    context = export.context | golden_context(network, name, inputs, outputs)
    env = environment()
    files = {
        path.replace("NAME", name): render(env, template, context)
        for template, path in _FILES.items()
    }
    metadata = {
        "kind": KIND,
        "name": name,
        "network": network.name,
        "version": __version__,
        "contract": network.contract,
        "digest": network.digest,
        "provenance": dict(sorted(network.metadata.items())),
        "target": export.target,
        "input_in_arena": bool(export.program.arrivals),
        "stripes": export.program.network is not network,
        "options": dict(sorted((options or {}).items())),
        **export.summary,
        "files": {path: _sha256(text) for path, text in sorted(files.items())},
    }
    files[METADATA] = json.dumps(metadata, indent=2, ensure_ascii=True) + "\n"
    return files


def example_inputs(network: IntegerNetwork, cases: int = DEFAULT_CASES) -> Arrays:
    """Return inputs over the whole range of their types, the same at every call."""
    generator = random.Random(0)  # its stream is the same in every version of Python
    arrays = {}
    for tensor_name, name in zip(network.inputs, network.input_names, strict=True):
        tensor = network.tensor(tensor_name)
        numpy_type = tensor.dtype.numpy
        data = generator.randbytes(cases * tensor.size * numpy_type.itemsize)
        little = np.frombuffer(data, dtype=numpy_type.newbyteorder("<"))
        arrays[name] = little.astype(numpy_type).reshape(cases, *tensor.onnx_shape)
    return arrays if len(arrays) > 1 else next(iter(arrays.values()))


def _is_export(folder: Path) -> bool:
    try:
        metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(metadata, dict) and metadata.get("kind") == KIND


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _replace(folder: Path, files: Mapping[str, str]) -> None:
    """Write the files beside ``folder``, then put them in its place."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    place = folder.resolve()
    work = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    try:
        made = work / "new"
        for name, text in files.items():
            target = made / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text.encode("utf-8"))
        if not place.exists():
            made.rename(place)
            return
        place.rename(work / "old")
        try:
            made.rename(place)
        except OSError:
            (work / "old").rename(place)
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
