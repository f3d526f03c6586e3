"""From an integer network to a folder of standalone C99, and the proof that both agree."""

from aidge_quant.export.run import run_c
from aidge_quant.export.verify import Verification, verify_c
from aidge_quant.export.writer import check_export, export_c, read_metadata

__all__ = [
    "export_c",
    "check_export",
    "read_metadata",
    "verify_c",
    "Verification",
    "run_c",
]
