"""The instruction sets that the engine is compiled for, and which of them new engines use."""

import os

from aidge_quant._kernels import engine as compiled
from aidge_quant.errors import DataError

#: Environment variable that names the instruction set to use instead of the best.
ISA_VARIABLE = "AIDGE_QUANT_ISA"


def available_isas() -> list[str]:
    """Return the instruction sets that this build and this machine have, best first."""
    return compiled.available()


def chosen_isa() -> str:
    """Return the instruction set that new engines use: that of AIDGE_QUANT_ISA, else the best.

    Raises
    ------
    DataError
        If AIDGE_QUANT_ISA names none that this machine has.
    """
    known = available_isas()
    name = os.environ.get(ISA_VARIABLE) or known[0]
    if name not in known:
        raise DataError(f"{ISA_VARIABLE} is {name!r}, expected one of {', '.join(known)}")
    return name
