"""A rough figure of Cortex-M4 cycles, from how often each instruction is executed.

The rules are those of the M4's published timing table without wait states, simplified: they see
what an instruction count does not, that loads and branches take longer than the rest.  They know
nothing of caches, flash accelerators and alignment.
"""

import os
import re
import tempfile
from pathlib import Path

from rig import RIG, RigError, call, emulator

#: What an instruction takes, by the first pattern that its name matches.
RULES = (
    (r"ldrd$", 3),
    (r"(ldm|pop|vldm|vpop)", "list"),
    (r"v?ldr", "load"),
    (r"strd$", 2),
    (r"(stm|push|vstm|vpush)", "list"),
    (r"[su]div$", 7),
    (r"v(div|sqrt)", 14),
    (r"(b|bl|bx|blx|tbb|tbh|cbz|cbnz)$", "branch"),
    (r"b(eq|ne|cs|cc|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)$", "branch"),
)
FUNCTION = re.compile(r"^[0-9a-f]+ <(.*)>:")
INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\t[0-9a-f ]+\t(\S+)\s*(.*)")


def compile_plugin(folder):
    """Return the path of the plugin that counts, compiled with the host's compiler."""
    plugin = Path(folder) / "counts.so"
    command = ["cc", "-std=c99", "-O2", "-shared", "-fPIC", str(RIG / "counts.c"), "-o"]
    call([*command, str(plugin)], "the host's C compiler refused counts.c")
    return plugin


def rough_cycles(core, program, prefix, cases):
    """Return the cycles of one inference in the functions whose names begin with ``prefix``.

    Parameters
    ----------
    core : Core
    program : path of the ELF file
    prefix : str
    cases : int
        Inferences that the program makes.
    """
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts"
        command = emulator(core, program)
        command[1:1] = ["-plugin", str(compile_plugin(folder))]
        call(command, "the program failed", environment={**os.environ, "RIG_COUNTS": str(counts)})
        if not counts.is_file():
            raise RigError(f"{command[0]} wrote no counts: it has no plugins")
        executed = {
            int(address, 16): int(count)
            for address, count in map(str.split, counts.read_text().splitlines())
        }
    listing = call(["arm-none-eabi-objdump", "-d", str(program)], "objdump failed")
    return round(_sum(listing, executed, prefix) / cases)


def _sum(listing, executed, prefix):
    total, ours, loaded = 0, False, False
    for line in listing.splitlines():
        if function := FUNCTION.match(line):
            ours, loaded = function[1].startswith(prefix), False
        elif ours and (found := INSTRUCTION.match(line)):
            address, name, operands = int(found[1], 16), found[2].split(".")[0], found[3]
            rule = next((cost for pattern, cost in RULES if re.match(pattern, name)), 1)
            total += executed.get(address, 0) * _cost(rule, name, address, operands, loaded)
            loaded = rule == "load"
    return total


def _cost(rule, name, address, operands, loaded):
    if rule == "list":
        return 2 + operands.count(",")
    if rule == "load":
        return 1 if loaded else 2  # loads in a row overlap
    if rule == "branch":
        target = re.search(r"\b([0-9a-f]+) <", operands)
        conditional = name not in ("b", "bl", "bx", "blx", "tbb", "tbh")
        forward = target is not None and int(target[1], 16) >= address
        return 2 if conditional and forward else 3  # a mix of taken and not
    return rule
