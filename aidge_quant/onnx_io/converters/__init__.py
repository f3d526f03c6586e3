"""Converters: from one ONNX node to nodes of our graph; one module per family of operators."""

from aidge_quant.onnx_io.converters import (
    activation,
    affine,
    arithmetic,
    blocks,
    constant,
    pooling,
    quantized,
    reduction,
    shape,
    training,
)
from aidge_quant.onnx_io.converters.registry import CONVERTERS, DOMAINS, Converter

__all__ = [
    "CONVERTERS",
    "DOMAINS",
    "Converter",
    "activation",
    "affine",
    "arithmetic",
    "blocks",
    "constant",
    "pooling",
    "quantized",
    "reduction",
    "shape",
    "training",
]
