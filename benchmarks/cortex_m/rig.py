"""Build an exported network for a core, run it under QEMU, and read what the rig says.

The count is of executed instructions, exact to about four, and the same on every host and under
any load. It is not of cycles: wait states, caches, load-use delays, the refill after a branch, the
beats of a vector instruction and dual issue are not in it. `README.md` in this folder says more.
"""

import functools
import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from boards import CORES, Core

RIG = Path(__file__).resolve().parent / "rig"
CC = "arm-none-eabi-gcc"
SIZE = "arm-none-eabi-size"
QEMU = "qemu-system-arm"
OPTIMIZATION = "-O2"
SECONDS = 600
# Instructions of the loop that rig.c counts first: two a turn, a return, and the call.
LOOP = range(2_000_001, 2_000_012)


class RigError(Exception):
    """The rig cannot measure: a tool is missing, refuses, or the count cannot be trusted."""


@dataclass(frozen=True)
class Figures:
    """What one network takes on one core.

    Attributes
    ----------
    instructions : int
        Executed in one inference.
    flash : int
        Bytes of code, constants and initialized data, without the rig's own.
    ram : int
        Bytes of working memory, input, output, other data and stack, without the rig's own.
    stack : int
        Bytes of ``ram`` that are stack.
    """

    instructions: int
    flash: int
    ram: int
    stack: int

    def as_json(self):
        """Return the fields as a dictionary."""
        return asdict(self)


def compiler_version():
    """Return the version of the cross compiler, which the figures depend on."""
    for tool in (CC, SIZE, QEMU):
        if shutil.which(tool) is None:
            raise RigError(
                f"{tool} is not installed (Debian, Ubuntu: apt install gcc-arm-none-eabi "
                "libnewlib-arm-none-eabi qemu-system-arm)"
            )
    return call([CC, "-dumpfullversion"], f"{CC} does not run").strip()


def measure(core_name, export, name):
    """Return the `Figures` of an exported folder on a core.

    Parameters
    ----------
    core_name : str
        A key of `CORES`.
    export : path of a folder written by ``export_c``, with golden cases and its input in the arena
    name : str
        Its C prefix.

    Raises
    ------
    RigError
        If something fails, or an output is not bit for bit the golden one.
    """
    core = CORES[core_name]
    empty = _empty(core)
    with tempfile.TemporaryDirectory(prefix="cortex_m_") as folder:
        whole, wrong = _measured(core, Path(folder), Path(export), name)
    if wrong:
        raise RigError(
            f"{name} on {core.title}: {wrong} output values differ from the golden model"
        )
    stack = whole.stack - empty.stack
    return Figures(
        whole.instructions, whole.flash - empty.flash, whole.ram - empty.ram + stack, stack
    )


@functools.cache
def _empty(core: Core) -> Figures:
    """Return what the rig itself takes on a core."""
    with tempfile.TemporaryDirectory(prefix="cortex_m_") as folder:
        return _measured(core, Path(folder), None, None)[0]


def _measured(core: Core, work: Path, export: Path | None, name: str | None):
    """Return the figures of a program, the rig's own in them, and the number of wrong values."""
    program = build(core, work, export, name)
    said = _run(core, program)
    values = {key: [int(v) for v in re.findall(rf"^{key}=(\d+)$", said, re.M)] for key in KEYS}
    if not all(values.values()):
        raise RigError(f"{name} on {core.title}: the rig did not finish; it said\n{said}")
    if values["loop"][0] not in LOOP:
        raise RigError(
            f"{core.title}: the loop of {LOOP.start} instructions was counted as "
            f"{values['loop'][0]}; this {QEMU} does not count as the rig expects"
        )
    flash, ram = _sizes(program)
    figures = Figures(values["instructions"][0], flash, ram, max(values["stack"]))
    return figures, values["wrong"][0]


KEYS = ("loop", "stack", "instructions", "wrong")


def build(core: Core, work: Path, export: Path | None, name: str | None) -> Path:
    script = (RIG / "rig.ld.in").read_text(encoding="utf-8")
    places = zip(("CODE", "DATA"), (core.code, core.data), strict=True)
    for kind, (start, size) in places:
        script = script.replace(f"@{kind}_START@", start).replace(f"@{kind}_SIZE@", size)
    (work / "rig.ld").write_text(script, encoding="utf-8")
    flags = [*core.flags, "-mthumb", "-std=gnu99", "-ffunction-sections", "-fdata-sections"]
    timer = [
        f"-DRIG_COUNTER={core.timer + 0x18:#x}u",
        f"-DRIG_PRESCALE={core.timer + 0x1C:#x}u",
        f"-DRIG_TICK_NS={core.tick}u",
    ]
    # The rig's own files are compiled alike in every build, so that they can be taken off.
    own = [*flags, "-O2", "-fno-tree-loop-distribute-patterns", f"-I{RIG}", *timer]
    jobs = [(RIG / "rig.c", own)]
    if export is None or name is None:
        jobs.append((RIG / "program.c", own))
    else:
        (work / "subject.h").write_text(_subject(export, name), encoding="utf-8")
        folders = [f"-I{work}", f"-I{export / 'include'}", f"-I{export / 'test'}"]
        jobs.append((RIG / "program.c", [*own, *folders, "-DNET_MEASURED"]))
        jobs.append(
            (export / "src" / f"{name}.c", [*flags, OPTIMIZATION, f"-I{export / 'include'}"])
        )
    objects = []
    for source, options in jobs:
        objects.append(str(work / f"{source.stem}.o"))
        command = [CC, *options, "-c", str(source), "-o", objects[-1]]
        call(command, f"{CC} refused {source.name}")
    program = work / "program.elf"
    link = ["-nostartfiles", "-Wl,--gc-sections", f"-T{work / 'rig.ld'}", "--specs=nano.specs"]
    call([CC, *flags, *link, *objects, "-o", str(program)], f"{CC} cannot link {name}")
    return program


def _subject(export: Path, name: str) -> str:
    """Return the header that gives an export's names the prefixes that program.c uses."""
    upper = name.upper()
    metadata = json.loads((export / "metadata.json").read_text(encoding="utf-8"))
    (input_end,), (output_end,) = metadata["inputs"], metadata["outputs"]
    return "\n".join(
        [
            f'#include "{name}.h"',
            f'#include "{name}_golden.h"',
            f"typedef {name}_t net_t;",
            f"typedef {input_end['type']} net_input_t;",
            f"typedef {output_end['type']} net_output_t;",
            f"#define NET_INPUT_SIZE {upper}_INPUT_SIZE",
            f"#define NET_OUTPUT_SIZE {upper}_OUTPUT_SIZE",
            f"#define NET_CASES {upper}_GOLDEN_CASES",
            f"#define net_init {name}_init",
            f"#define net_run {name}_run",
            f"#define net_input {name}_input",
            f"#define net_golden_input {name}_golden_input",
            f"#define net_golden_output {name}_golden_output",
            "",
        ]
    )


def _sizes(program: Path) -> tuple[int, int]:
    """Return the bytes of flash and of RAM that the sections take, without the cases."""
    flash = ram = 0
    for line in call([SIZE, "-A", str(program)], f"{SIZE} failed").splitlines():
        words = line.split()
        if len(words) != 3 or not words[1].isdigit():
            continue
        section, size = words[0], int(words[1])
        if section in (".text", ".rodata", ".data", ".ARM.exidx", ".ARM.extab"):
            flash += size
        if section in (".data", ".bss"):
            ram += size
    return flash, ram


def emulator(core: Core, program: Path) -> list[str]:
    """Return the command that runs a program on a core, instructions counted."""
    return [
        *(QEMU, "-M", core.machine, "-display", "none", "-monitor", "none", "-serial", "none"),
        *("-semihosting-config", "enable=on,target=native"),
        *("-icount", "shift=6,align=off,sleep=off", "-kernel", str(program)),
    ]


def _run(core: Core, program: Path) -> str:
    return call(emulator(core, program), f"the program failed on {core.title}", both=True)


def call(command, what, both=False, environment=None):
    """Return what a command printed; raise `RigError` with its last lines if it fails."""
    environment = {**(environment or os.environ), "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=SECONDS, env=environment
        )
    except subprocess.TimeoutExpired as error:
        raise RigError(f"{what}: it took more than {SECONDS} seconds") from error
    if done.returncode != 0:
        lines = (done.stdout + done.stderr).strip().splitlines()[-20:]
        raise RigError("\n  ".join([f"{what}: exit status {done.returncode}", *lines]))
    return done.stdout + (done.stderr if both else "")
