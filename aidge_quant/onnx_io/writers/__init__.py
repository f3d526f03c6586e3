"""Writers: from one node of our graph to ONNX nodes; one module per family of operators."""

from aidge_quant.onnx_io.writers import (
    activation,
    affine,
    arithmetic,
    blocks,
    expansions,
    pooling,
    quantization,
    reduction,
    shape,
    training,
)
from aidge_quant.onnx_io.writers.expansions import EXPANSIONS, Expansion
from aidge_quant.onnx_io.writers.registry import WRITERS, Writer, writer_of
from aidge_quant.onnx_io.writers.training import keep

__all__ = [
    "EXPANSIONS",
    "WRITERS",
    "Expansion",
    "Writer",
    "activation",
    "affine",
    "arithmetic",
    "blocks",
    "expansions",
    "keep",
    "pooling",
    "quantization",
    "reduction",
    "shape",
    "training",
    "writer_of",
]
