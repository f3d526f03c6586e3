"""Compile exported folders with a small driver, feed the program, read what it wrote."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from aidge_quant.errors import ExportError
from aidge_quant.export.context import describe_ends
from aidge_quant.export.regions import describe_regions
from aidge_quant.export.render import environment, render
from aidge_quant.export.writer import read_metadata
from aidge_quant.integer.network import IntegerNetwork

#: Flags that every build has; the caller's come after them.
BASE_FLAGS = ("-std=c99",)

DEFAULT_FLAGS = ("-O2",)

# Lines of a compiler's or a program's messages that an error repeats.
_LINES = 20


def find_compiler(compiler: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the command of a C compiler that is installed.

    Parameters
    ----------
    compiler : str, sequence of str, or None
        A command, with arguments if a sequence. None: the environment variable CC, else the first
        of cc, gcc and clang.

    Raises
    ------
    ExportError
        If there is none.
    """
    remedy = "install gcc or clang, or name a compiler that is"
    if compiler is None:
        named = os.environ.get("CC", "").split()
        if named:
            compiler = named
        else:
            found = [c for c in ("cc", "gcc", "clang") if shutil.which(c)]
            if not found:
                raise ExportError(f"no C compiler found (cc, gcc, clang); {remedy}")
            compiler = found[0]
    command = (compiler,) if isinstance(compiler, str) else tuple(compiler)
    if not command or shutil.which(command[0]) is None:
        raise ExportError(f"C compiler {command[0] if command else ''!r} is not found; {remedy}")
    return command


def build_and_run(
    exports: Sequence[tuple[str | Path, str, IntegerNetwork, int, bytes]],
    *,
    compiler: str | Sequence[str] | None = None,
    flags: Sequence[str] = DEFAULT_FLAGS,
    sources: Iterable[str | Path] = (),
    libraries: Sequence[str] = (),
    runner: Sequence[str] = (),
    timeout: float = 600.0,
) -> list[bytes]:
    """Compile exports into one program, run it, and return what each network wrote.

    Parameters
    ----------
    exports : sequence of (folder, name, network, cases, input)
        ``input`` holds the stored inputs of all cases, case after case.
    compiler : str, sequence of str, or None
        See `find_compiler`.
    flags : sequence of str
        Added before the sources.
    sources : paths
        Compiled too: start-up code of a board, for example.
    libraries : sequence of str
        Added behind the sources.
    runner : sequence of str
        Command that runs the program, whose path comes last; the program itself if empty. It runs
        in the folder with the data.
    timeout : float
        Seconds that the program may take.

    Returns
    -------
    list of bytes

    Raises
    ------
    ExportError
        If there is no compiler, it refuses the code, or the program fails.
    """
    command = find_compiler(compiler)
    with tempfile.TemporaryDirectory(prefix="aidge_quant_") as folder:
        work = Path(folder)
        driver = work / "driver.c"
        driver.write_text(_driver(exports), encoding="utf-8", newline="\n")
        for _, name, _, _, data in exports:
            (work / f"{name}.in").write_bytes(data)
        roots = [(Path(path).resolve(), name) for path, name, *_ in exports]
        arguments = [
            *command,
            *BASE_FLAGS,
            *flags,
            *(f"-I{root / 'include'}" for root, _ in roots),
            str(driver),
            *(str(root / "src" / f"{name}.c") for root, name in roots),
            *(str(Path(source).resolve()) for source in sources),
            "-o",
            str(work / "program"),
            *libraries,
        ]
        names = ", ".join(name for _, name in roots)
        _call(arguments, work, f"{command[0]} refused the C of {names}", None)
        _call([*runner, str(work / "program")], work, f"the program of {names} failed", timeout)
        return [(work / f"{name}.out").read_bytes() for _, name in roots]


def _driver(exports: Sequence[tuple[str | Path, str, IntegerNetwork, int, bytes]]) -> str:
    nets = []
    for path, name, network, cases, _ in exports:
        inputs, outputs = describe_ends(network, name)
        regions = describe_regions(name, read_metadata(path)["sizes"]["regions"])
        net = {"name": name, "cases": cases, "inputs": inputs, "outputs": outputs}
        nets.append(net | {"regions": regions})
    return render(environment(), "driver.c.j2", {"nets": nets})


def _call(arguments: Sequence[str], work: Path, what: str, timeout: float | None) -> None:
    try:
        result = subprocess.run(
            arguments,
            cwd=work,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ExportError(f"{what}: it took more than {timeout:g} seconds") from error
    except OSError as error:
        raise ExportError(f"{what}: {arguments[0]} cannot be run: {error.strerror}") from error
    if result.returncode != 0:
        lines = (result.stderr + result.stdout).strip().splitlines()[:_LINES]
        said = "\n  ".join(lines) or "(nothing)"
        raise ExportError(f"{what}: exit status {result.returncode}; it said\n  {said}")
