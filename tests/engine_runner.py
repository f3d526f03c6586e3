"""The engine in a program of its own: steps go to it, and the arena comes back.

The program (tests/integer/engine_runner.c) has the sources of ``_kernels/host``, compiled for
another machine, which qemu emulates, or with sanitizers. A `ForeignSteps` stands where the compiled
`Steps` of the package would: plans pack for its layout and run as ever.
"""

import shutil
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from shared_data import CHECKOUT

HOST = CHECKOUT / "_kernels" / "host"
SOURCE = CHECKOUT / "tests" / "integer" / "engine_runner.c"
FLAGS = ("-fno-strict-aliasing", "-std=gnu11", "-Wall", "-Wextra", "-Werror", f"-I{HOST}")


@dataclass(frozen=True)
class Target:
    """A kind of machine: what compiles for it, and what runs it here.

    Attributes
    ----------
    compiler : tuple of str
        With flags for all files.
    emulator : tuple of str
        Empty for this machine.
    options : dict from str to tuple of str
        Flags of the files of instruction sets, by name, as CMakeLists.txt has them.
    """

    compiler: tuple[str, ...]
    emulator: tuple[str, ...]
    options: dict[str, tuple[str, ...]]

    @property
    def missing(self) -> str | None:
        """Why there is no program for this machine here, or None."""
        for tool in (self.compiler[0], *self.emulator):
            if shutil.which(tool) is None:
                return f"{tool} is not installed"
        return None

    def build(self, folder: Path) -> Path:
        """Compile the program into a folder and return its path."""
        objects = []
        for name, options in {"isas": (), "jobs": (), "isa_portable": (), **self.options}.items():
            objects.append(folder / f"{name}.o")
            self._compile("-c", *options, HOST / f"{name}.c", "-o", objects[-1])
        program = folder / "engine_runner"
        self._compile(SOURCE, *objects, "-o", program)
        return program

    def _compile(self, *arguments: str | Path) -> None:
        command = [*self.compiler, *FLAGS, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


AARCH64 = Target(
    ("aarch64-linux-gnu-gcc", "-O3", "-static", "-DAQ_AARCH64", "-DAQ_NEONDOT"),
    ("qemu-aarch64",),
    {"isa_neon": (), "isa_neondot": ("-march=armv8.2-a+dotprod",)},
)
_VNNI = ("-mavx512f", "-mavx512vl", "-mavx512vnni")
#: Sanitizers see what a step reads and writes beside its arrays.
X86_SANITIZED = Target(
    ("gcc", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-DAQ_X86"),
    (),
    {
        "isa_avx2": ("-mavx2",),
        "isa_avx512vnni": (*_VNNI, "-mavx512bw", "-mavx512dq"),
        "isa_avx512vnni256": (*_VNNI, "-mavx2", "-mprefer-vector-width=256"),
    },
)


def layouts(command: Sequence[str]) -> dict[str, tuple]:
    """Return the instruction sets that a program has, best first, as `Steps.layout` has them."""
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = {}
    for line in done.stdout.splitlines():
        name, *words = line.split()
        lanes, vectors, *pairs, depthwise_s8 = (int(word) for word in words)
        found[name] = (lanes, vectors, tuple(pairs[:2]), tuple(pairs[2:]), bool(depthwise_s8))
    return found


class Runner:
    """A program that runs steps for one instruction set until it is closed."""

    def __init__(self, command: Sequence[str], name: str) -> None:
        self.name = name
        self.layout = layouts(command)[name]
        self._process = subprocess.Popen(
            [*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def answer(self, message: bytes, size: int) -> bytes:
        """Return the bytes that follow on a message."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(message)
        stdin.flush()
        found = stdout.read(size)
        if len(found) != size:
            raise RuntimeError(f"{self.name}: the program ended with {self._process.wait()}")
        return found

    def close(self) -> None:
        """End the program, which is then content."""
        self._process.communicate()
        assert self._process.returncode == 0


def _message(*values) -> bytes:
    """Return numbers, arrays and tuples of both as the program reads them."""
    parts = []
    for value in values:
        if isinstance(value, tuple):
            parts.append(_message(*value))
        elif isinstance(value, np.ndarray):
            parts += [struct.pack("<q", value.nbytes), value.tobytes()]
        else:
            parts.append(struct.pack("<q", int(value)))
    return b"".join(parts)


class ForeignSteps:
    """Stands for `aidge_quant._kernels.engine.Steps`, and has its methods."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._steps: list[bytes] = []

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def name(self) -> str:
        return self._runner.name

    @property
    def layout(self) -> tuple:
        return self._runner.layout

    # The first number of a message is the kind, as in the program.

    def affine(self, *values) -> None:
        self._steps.append(_message(0, *values))

    def depthwise(self, *values) -> None:
        self._steps.append(_message(1, *values))

    def elementwise(self, *values) -> None:
        self._steps.append(_message(2, *values))

    def average_pool(self, finish, counts, numbers) -> None:
        present = [(0,) if value is None else (1, value) for value in (finish, counts)]
        self._steps.append(_message(3, *present, numbers))

    def max_pool(self, *values) -> None:
        self._steps.append(_message(4, *values))

    def move(self, *values) -> None:
        self._steps.append(_message(5, *values))

    def depthwise_s8(self, *values) -> None:
        self._steps.append(_message(6, *values))

    def run(self, first, stop, workspaces, room, workers) -> None:
        """Run the steps [first, stop) on a batch in one workspace, in place."""
        ((arena, scratch, batch),) = workspaces
        assert workers == 1
        steps = b"".join(self._steps[first:stop])
        end = _message(room, batch, len(scratch), arena)
        found = self._runner.answer(_message(stop - first) + steps + end, len(arena))
        arena[:] = np.frombuffer(found, np.uint8)
