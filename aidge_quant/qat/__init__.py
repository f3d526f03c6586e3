"""What LSQ and SAT share: where a network is quantized, and the way from there to integers."""

from aidge_quant.qat.bits import LayerBits
from aidge_quant.qat.nodes import CGPACT, LSQ, DoReFa, FixedQ, ScaleAdjust, TanhClamp

__all__ = ["CGPACT", "LSQ", "DoReFa", "FixedQ", "LayerBits", "ScaleAdjust", "TanhClamp"]
