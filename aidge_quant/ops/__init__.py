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
from aidge_quant.ops.affine import (
    FC,
    AffineOperator,
    Conv,
)
from aidge_quant.ops.axes import (
    Identity,
    Split,
    Squeeze,
    Unsqueeze,
)
from aidge_quant.ops.base import (
    REGISTRY,
    Operator,
    Trait,
    operator,
    registered,
)
from aidge_quant.ops.blocks import (
    DepthToSpace,
    SpaceToDepth,
)
from aidge_quant.ops.contrib import (
    QGemm,
    QLinearAdd,
    QLinearAveragePool,
    QLinearConcat,
    QLinearGlobalAveragePool,
    QLinearLeakyRelu,
    QLinearMul,
    QLinearSigmoid,
    QLinearSoftmax,
)
from aidge_quant.ops.conversion import (
    Cast,
    Gather,
)
from aidge_quant.ops.elementwise import (
    Add,
    Div,
    Max,
    Min,
    Mul,
    Sub,
)
from aidge_quant.ops.functions import (
    Abs,
    Celu,
    Elu,
    Erf,
    Exp,
    Gelu,
    Log,
    Mish,
    Neg,
    Pow,
    Reciprocal,
    Selu,
    Softplus,
    Softsign,
    Sqrt,
    Swish,
    ThresholdedReLU,
)
from aidge_quant.ops.integers import (
    ConvInteger,
    MatMulInteger,
)
from aidge_quant.ops.learned_quantization import (
    CGPACT,
    LSQ,
    BiasQuantizer,
    FixedQ,
    TrainedQuantizer,
)
from aidge_quant.ops.linear_quantization import (
    DequantizeLinear,
    DynamicQuantizeLinear,
    QuantizeLinear,
)
from aidge_quant.ops.matmul import (
    Gemm,
    MatMul,
)
from aidge_quant.ops.normalization import (
    BatchNorm,
)
from aidge_quant.ops.pooling import (
    AveragePool,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool,
    SumPool,
)
from aidge_quant.ops.quantization import (
    Dequantizer,
    Quantizer,
)
from aidge_quant.ops.quantized import (
    QLinearConv,
    QLinearMatMul,
    QuantizedOperator,
)
from aidge_quant.ops.reduction import (
    ArgMax,
    ReduceMax,
    ReduceMean,
)
from aidge_quant.ops.resize import (
    Resize,
)
from aidge_quant.ops.shape import (
    Concat,
    Flatten,
    Pad,
    Reshape,
    Slice,
    Transpose,
)
from aidge_quant.ops.source import (
    Input,
    Producer,
    producer,
)
from aidge_quant.ops.table import (
    LookupTable,
)
from aidge_quant.ops.transposed import (
    ConvTranspose,
)
from aidge_quant.ops.weight_normalization import (
    DoReFa,
    DoReFaMode,
    ScaleAdjust,
    TanhClamp,
)

__all__ = [
    "Abs",
    "Add",
    "AffineOperator",
    "ArgMax",
    "AveragePool",
    "BatchNorm",
    "BiasQuantizer",
    "CGPACT",
    "Cast",
    "Celu",
    "Clip",
    "Concat",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "DepthToSpace",
    "DequantizeLinear",
    "Dequantizer",
    "Div",
    "DoReFa",
    "DoReFaMode",
    "DynamicQuantizeLinear",
    "Elu",
    "Erf",
    "Exp",
    "FC",
    "FixedQ",
    "Flatten",
    "Gelu",
    "Gemm",
    "Gather",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "Input",
    "LSQ",
    "LeakyReLU",
    "Log",
    "LookupTable",
    "MatMul",
    "MatMulInteger",
    "Max",
    "MaxPool",
    "Min",
    "Mish",
    "Mul",
    "Neg",
    "Operator",
    "PReLU",
    "Pad",
    "Pow",
    "Producer",
    "QGemm",
    "QLinearAdd",
    "QLinearAveragePool",
    "QLinearConcat",
    "QLinearConv",
    "QLinearGlobalAveragePool",
    "QLinearLeakyRelu",
    "QLinearMatMul",
    "QLinearMul",
    "QLinearSigmoid",
    "QLinearSoftmax",
    "QuantizeLinear",
    "QuantizedOperator",
    "Quantizer",
    "REGISTRY",
    "ReLU",
    "Reciprocal",
    "ReduceMax",
    "ReduceMean",
    "Reshape",
    "Resize",
    "ScaleAdjust",
    "Selu",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Softplus",
    "Softsign",
    "SpaceToDepth",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "SumPool",
    "Swish",
    "Tanh",
    "TanhClamp",
    "ThresholdedReLU",
    "Trait",
    "TrainedQuantizer",
    "Transpose",
    "Unsqueeze",
    "operator",
    "producer",
    "registered",
]
