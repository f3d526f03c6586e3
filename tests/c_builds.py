"""Compilers and flags that exported C is tried with, and the ways to run it.

A build whose tools are missing skips the test that asks for it, with the reason; under CI=true it
fails, so that an automatic run cannot pass by leaving builds out.
"""

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

WARNINGS = (
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wconversion",
    "-Wsign-conversion",
    "-Wshadow",
    "-Wcast-align",
    "-Wcast-qual",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
    "-Wundef",
    "-Werror",
)

_SANITIZERS = ("-O0", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
_CORTEX_M = Path(__file__).parent / "export" / "cortex_m"
_RISCV = Path(__file__).parent / "export" / "riscv"


@dataclass(frozen=True)
class Build:
    """A compiler with flags, and how its program runs.

    Attributes
    ----------
    name : str
    compiler, flags, libraries, runner : tuple of str
        As `aidge_quant.export.run_c` takes them.
    sources : tuple of pathlib.Path
    """

    name: str
    compiler: tuple[str, ...]
    flags: tuple[str, ...]
    libraries: tuple[str, ...] = ()
    runner: tuple[str, ...] = ()
    sources: tuple[Path, ...] = ()

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of ``run_c``, ``run_many`` and ``verify_c``."""
        return {
            "compiler": self.compiler,
            "flags": self.flags,
            "libraries": self.libraries,
            "runner": self.runner,
            "sources": self.sources,
        }


def _cortex_m(cpu: str, machine: str, *flags: str, memories: str = "mps2.ld") -> Build:
    """Return a build for a core; the M0 has no board with room enough, but an M3 runs its code."""
    script = (f"-L{_CORTEX_M}", f"-T{_CORTEX_M / memories}")
    return Build(
        f"qemu-{cpu}",
        ("arm-none-eabi-gcc",),
        (f"-mcpu={cpu}", "-mthumb", *flags, "--specs=rdimon.specs", "-nostartfiles", *script),
        runner=(
            "qemu-system-arm", "-M", machine, "-display", "none", "-monitor", "none",
            "-serial", "none", "-semihosting-config", "enable=on,target=native", "-kernel",
        ),
        sources=(_CORTEX_M / "startup.c",),
    )  # fmt: skip


def _rv32(march: str, *flags: str) -> Build:
    return Build(
        f"qemu-{march}",
        ("riscv64-unknown-elf-gcc",),
        (
            f"-march={march}", "-mabi=ilp32", *flags, "--specs=picolibc.specs", "--oslib=semihost",
            "-nostartfiles", f"-T{_RISCV / 'user.ld'}",
        ),
        runner=("qemu-riscv32",),
        sources=(_RISCV / "startup.c",),
    )  # fmt: skip


BUILDS = {
    build.name: build
    for build in (
        Build("gcc-sanitized", ("gcc",), _SANITIZERS),
        Build("gcc-O2", ("gcc",), ("-O2", *WARNINGS)),
        Build("gcc-O3", ("gcc",), ("-O3", "-march=native")),
        Build("gcc-Os", ("gcc",), ("-Os",)),
        Build("gcc-m32", ("gcc",), ("-m32", "-O2")),
        Build("clang-O2", ("clang",), ("-O2", *WARNINGS)),
        Build("clang-sanitized", ("clang",), _SANITIZERS),
        _cortex_m("cortex-m0", "mps2-an385", "-O2", *WARNINGS),
        _cortex_m("cortex-m3", "mps2-an385", "-O2", *WARNINGS),
        _cortex_m("cortex-m4", "mps2-an386", "-O2", *WARNINGS),
        _cortex_m("cortex-m7", "mps2-an500", "-O3"),
        _cortex_m("cortex-m33", "mps2-an505", "-O2", *WARNINGS, memories="an505.ld"),
        _rv32("rv32imc", "-O2", *WARNINGS),
        _cortex_m(
            "cortex-m55", "mps3-an547", "-mfloat-abi=hard", "-O2", *WARNINGS, memories="mps3.ld"
        ),
    )
}

#: Builds for programs of this machine, the quickest first.
HOST_BUILDS = tuple(name for name in BUILDS if not name.startswith("qemu"))

#: Builds that run on an emulated microcontroller.
QEMU_BUILDS = tuple(name for name in BUILDS if name.startswith("qemu"))


def slower(names: Iterable[str], quick: Sequence[str]) -> list[Any]:
    """Return parameters of a test for all names, marked slow but for the quick ones."""
    return [n if n in quick else pytest.param(n, marks=pytest.mark.slow) for n in names]


def build_named(name: str) -> Build:
    """Return a build of the table; skips or fails the test if the machine cannot make it."""
    build = BUILDS[name]
    reason = missing(name)
    if reason is not None:
        absent(reason)
    return build


def absent(reason: str) -> None:
    """Skip the test for want of a tool, or fail it under CI=true."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@functools.cache
def missing(name: str) -> str | None:
    """Return why a build cannot be made here, or None."""
    build = BUILDS[name]
    for tool in (build.compiler[0], *build.runner[:1]):
        if shutil.which(tool) is None:
            return f"{name}: {tool} is not installed"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "empty.c"
        source.write_text("#include <stdio.h>\nint main(void)\n{\n    return 0;\n}\n")
        sources = (source, *build.sources)
        program = Path(folder) / "empty"
        command = [*build.compiler, *build.flags, *map(str, sources), "-o", str(program)]
        result = subprocess.run([*command, *build.libraries], capture_output=True, check=False)
    said = result.stderr.decode(errors="replace").strip().splitlines()[:1]
    return f"{name}: {build.compiler[0]} cannot build: {said}" if result.returncode else None
