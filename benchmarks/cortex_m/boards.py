"""Cores of the benchmark: how the compiler and the emulator call them, and where memory is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Core:
    """A core, and the board of QEMU that runs its code.

    Attributes
    ----------
    title : str
    machine : str
        Name of QEMU's board.
    flags : tuple of str
        Of the compiler.
    code, data : (str, str)
        Start and size of the memories, for the linker.
    timer : int
        Address of the board's block with the free-running counter and its prescaler.
    tick : int
        Nanoseconds of a tick of that counter.
    target : str
        The exporter's target.
    """

    title: str
    machine: str
    flags: tuple[str, ...]
    code: tuple[str, str]
    data: tuple[str, str]
    timer: int
    tick: int
    target: str


def _mps2(title: str, machine: str, target: str, *flags: str) -> Core:
    """Return a core on a board with 4 MB at address 0 and 4 MB of data memory."""
    return Core(
        title=title,
        machine=machine,
        flags=flags,
        code=("0x00000000", "4M"),
        data=("0x20000000", "4M"),
        timer=0x40028000,
        tick=40,
        target=target,
    )


CORES = {
    # No board with room for these networks has the core; the M3 runs all its instructions.
    "m0": _mps2("Cortex-M0", "mps2-an385", "generic", "-mcpu=cortex-m0"),
    "m3": _mps2("Cortex-M3", "mps2-an385", "generic", "-mcpu=cortex-m3"),
    "m4": _mps2(
        "Cortex-M4",
        "mps2-an386",
        "cortex-m4",
        "-mcpu=cortex-m4",
        "-mfpu=fpv4-sp-d16",
        "-mfloat-abi=hard",
    ),
    "m7": _mps2(
        "Cortex-M7",
        "mps2-an500",
        "cortex-m4",
        "-mcpu=cortex-m7",
        "-mfpu=fpv5-d16",
        "-mfloat-abi=hard",
    ),
    "m33": Core(
        title="Cortex-M33",
        machine="mps2-an505",
        flags=("-mcpu=cortex-m33", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard"),
        code=("0x10000000", "4M"),
        data=("0x38000000", "4M"),
        timer=0x50302000,
        tick=50,
        target="cortex-m4",
    ),
    "m55": Core(
        title="Cortex-M55",
        machine="mps3-an547",
        flags=("-mcpu=cortex-m55", "-mfloat-abi=hard"),
        code=("0x00000000", "512K"),
        data=("0x20000000", "512K"),
        timer=0x59302000,
        tick=50,
        target="cortex-m55",
    ),
}
