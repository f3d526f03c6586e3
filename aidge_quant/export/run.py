"""Run the exported C from Python, on the same arrays as the golden model."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from aidge_quant.errors import ExportError
from aidge_quant.export.build import DEFAULT_FLAGS, build_and_run
from aidge_quant.export.writer import read_metadata
from aidge_quant.integer.network import Arrays, IntegerNetwork


def run_c(
    path: str | Path,
    network: IntegerNetwork,
    q: Arrays,
    *,
    compiler: str | Sequence[str] | None = None,
    flags: Sequence[str] = DEFAULT_FLAGS,
    sources: Iterable[str | Path] = (),
    libraries: Sequence[str] = (),
    runner: Sequence[str] = (),
    timeout: float = 600.0,
) -> Arrays:
    """Compile the export in ``path``, run it on ``q``, and return its outputs.

    Parameters
    ----------
    path : path of a folder written by `export_c`
    network : IntegerNetwork
        The one that was exported.
    q : integer array (batch, *ONNX shape), or a mapping of them by input name
    compiler, flags, sources, libraries, runner, timeout
        See `build_and_run`; ``compiler=("arm-none-eabi-gcc", "-mcpu=cortex-m4")`` with a
        ``runner`` runs on an emulated target.

    Returns
    -------
    As `IntegerNetwork.run` does: array (batch, *ONNX shape), or a dictionary by output name

    Raises
    ------
    ExportError
        If ``path`` holds another network, or the C cannot be compiled or run.
    FileError
        If ``path`` is not an export.
    """
    return run_many(
        [(path, network, q)],
        compiler=compiler,
        flags=flags,
        sources=sources,
        libraries=libraries,
        runner=runner,
        timeout=timeout,
    )[0]


def run_many(
    exports: Sequence[tuple[str | Path, IntegerNetwork, Arrays]],
    *,
    compiler: str | Sequence[str] | None = None,
    flags: Sequence[str] = DEFAULT_FLAGS,
    sources: Iterable[str | Path] = (),
    libraries: Sequence[str] = (),
    runner: Sequence[str] = (),
    timeout: float = 600.0,
) -> list[Arrays]:
    """Run several exports, of different names, in one program; see `run_c`."""
    jobs = []
    for path, network, q in exports:
        metadata = read_metadata(path)
        if metadata["digest"] != network.digest:
            raise ExportError(
                f"{path} holds network {metadata['network']} with digest "
                f"{metadata['digest'][:12]}, expected that of {network.name}, "
                f"{network.digest[:12]}; export it again"
            )
        cases, data = pack_inputs(network, q)
        jobs.append((path, metadata["name"], network, cases, data))
    written = build_and_run(
        jobs,
        compiler=compiler,
        flags=flags,
        sources=sources,
        libraries=libraries,
        runner=runner,
        timeout=timeout,
    )
    return [
        unpack_outputs(network, cases, data)
        for (_, _, network, cases, _), data in zip(jobs, written, strict=True)
    ]


def pack_inputs(network: IntegerNetwork, q: Arrays) -> tuple[int, bytes]:
    """Return the number of cases, and the inputs as the C reads them, case after case."""
    arrays = q if isinstance(q, Mapping) else {network.input_names[0]: q}
    rows = []
    for tensor_name, name in zip(network.inputs, network.input_names, strict=True):
        tensor = network.tensor(tensor_name)
        stored = tensor.from_onnx(np.asarray(arrays[name]))
        little = stored.astype(tensor.dtype.numpy.newbyteorder("<"), copy=False)
        rows.append(np.ascontiguousarray(little.reshape(len(little), -1)).view(np.uint8))
    return len(rows[0]), np.concatenate(rows, axis=1).tobytes()


def unpack_outputs(network: IntegerNetwork, cases: int, data: bytes) -> Arrays:
    """Return the outputs that the C wrote, in ONNX layout.

    Raises
    ------
    ExportError
        If the program wrote more or less than ``cases`` cases.
    """
    tensors = [network.tensor(name) for name in network.outputs]
    sizes = [tensor.size * tensor.dtype.numpy.itemsize for tensor in tensors]
    if len(data) != cases * sum(sizes):
        raise ExportError(
            f"the program of {network.name} wrote {len(data)} bytes, expected {cases * sum(sizes)}"
        )
    rows = np.frombuffer(data, dtype=np.uint8).reshape(cases, -1)
    result = {}
    start = 0
    for tensor, size, name in zip(tensors, sizes, network.output_names, strict=True):
        part = np.ascontiguousarray(rows[:, start : start + size])
        little = part.view(tensor.dtype.numpy.newbyteorder("<"))
        result[name] = tensor.to_onnx(little.astype(tensor.dtype.numpy))
        start += size
    return result if len(result) > 1 else next(iter(result.values()))
