"""Between integer networks and ONNX: QDQ, QOperator and plain integer models, out and in."""

from aidge_quant.interchange.expand import expand_qop
from aidge_quant.interchange.export import export_onnx
from aidge_quant.interchange.from_qdq import from_qdq
from aidge_quant.interchange.from_qop import from_qop
from aidge_quant.interchange.fuse import fuse_qdq
from aidge_quant.interchange.refit import PowerOfTwoFit, fit_power_of_two
from aidge_quant.interchange.set_to import set_to_qdq, set_to_qop

__all__ = [
    "PowerOfTwoFit",
    "expand_qop",
    "export_onnx",
    "fit_power_of_two",
    "from_qdq",
    "from_qop",
    "fuse_qdq",
    "set_to_qdq",
    "set_to_qop",
]
