"""Operators: one class is the whole truth about an operator for the rest of Python."""

from aidge_quant.ops.activation import (
    Clip,
    HardSigmoid,
    HardSwish,
    LeakyReLU,
    PReLU,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)
from aidge_quant.ops.affine import FC, AffineOperator, Conv
from aidge_quant.ops.base import REGISTRY, Operator, Trait, operator, registered
from aidge_quant.ops.elementwise import Add, Mul, Sub
from aidge_quant.ops.normalization import BatchNorm
from aidge_quant.ops.pooling import AveragePool, GlobalAveragePool, MaxPool
from aidge_quant.ops.quantization import Dequantizer, Quantizer
from aidge_quant.ops.shape import Concat, Flatten, Pad, Reshape, Slice, Transpose
from aidge_quant.ops.source import Input, Producer, producer

__all__ = [
    "FC",
    "REGISTRY",
    "Add",
    "AffineOperator",
    "AveragePool",
    "BatchNorm",
    "Clip",
    "Concat",
    "Conv",
    "Dequantizer",
    "Flatten",
    "GlobalAveragePool",
    "HardSigmoid",
    "HardSwish",
    "Input",
    "LeakyReLU",
    "MaxPool",
    "Mul",
    "Operator",
    "PReLU",
    "Pad",
    "Producer",
    "Quantizer",
    "ReLU",
    "Reshape",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Sub",
    "Tanh",
    "Trait",
    "Transpose",
    "operator",
    "producer",
    "registered",
]
