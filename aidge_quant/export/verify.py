"""Compare the exported C with the golden model, bit for bit."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aidge_quant.export.build import DEFAULT_FLAGS
from aidge_quant.export.run import run_c
from aidge_quant.integer.network import Arrays, IntegerNetwork


@dataclass(frozen=True)
class Mismatch:
    """The first value that differs.

    Attributes
    ----------
    case : int
        Position in the batch.
    output : str
        The model's name of the output.
    index : tuple of int
        Position in ONNX layout, without the batch.
    expected, got : int
        Value of the golden model and of the C.
    """

    case: int
    output: str
    index: tuple[int, ...]
    expected: int
    got: int

    def __str__(self) -> str:
        place = ", ".join(map(str, self.index))
        return f"case {self.case}, {self.output}[{place}]: expected {self.expected}, got {self.got}"


@dataclass(frozen=True)
class Verification:
    """Result of `verify_c`; true if every sample is identical.

    Attributes
    ----------
    identical, total : int
        Samples all of whose outputs are equal, and all samples.
    first_mismatch : Mismatch or None
    """

    identical: int
    total: int
    first_mismatch: Mismatch | None = None

    def __bool__(self) -> bool:
        return self.identical == self.total


def verify_c(
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
) -> Verification:
    """Compile the export in ``path``, run it on ``q`` and compare with ``network.run(q)``.

    Parameters
    ----------
    path : path of a folder written by `export_c`
    network : IntegerNetwork
        The one that was exported.
    q : integer array (batch, *ONNX shape), or a mapping of them by input name
    compiler : str, sequence of str, or None
        Command of the C compiler; None takes CC from the environment, or cc, gcc, clang.
    flags : sequence of str
        Its flags besides ``-std=c99``.
    sources, libraries, runner, timeout
        For other targets; see `build_and_run`.

    Returns
    -------
    Verification

    Raises
    ------
    ExportError
        If there is no compiler, it refuses the code, or ``path`` holds another network.
    FileError
        If ``path`` is not an export.
    """
    expected = network.run(q)
    got = run_c(
        path,
        network,
        q,
        compiler=compiler,
        flags=flags,
        sources=sources,
        libraries=libraries,
        runner=runner,
        timeout=timeout,
    )
    return compare(network, expected, got)


def compare(network: IntegerNetwork, expected: Arrays, got: Arrays) -> Verification:
    """Compare two results of ``network``, in the form that `IntegerNetwork.run` returns."""
    ours, theirs = _by_name(network, expected), _by_name(network, got)
    total = len(next(iter(ours.values())))
    differs = {
        name: (ours[name] != theirs[name]).reshape(total, -1) for name in network.output_names
    }
    wrong = np.logical_or.reduce([rows.any(axis=1) for rows in differs.values()])
    first = None
    if wrong.any():
        case = int(wrong.argmax())
        name = next(name for name, rows in differs.items() if rows[case].any())
        flat = int(differs[name][case].argmax())
        index = tuple(int(i) for i in np.unravel_index(flat, ours[name].shape[1:]))
        first = Mismatch(
            case, name, index, int(ours[name][case][index]), int(theirs[name][case][index])
        )
    return Verification(total - int(wrong.sum()), total, first)


def _by_name(network: IntegerNetwork, arrays: Arrays) -> Mapping[str, np.ndarray]:
    return arrays if isinstance(arrays, Mapping) else {network.output_names[0]: arrays}
