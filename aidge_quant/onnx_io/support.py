"""What is read: the rows of the operator table, made from the registry and the converters."""

from typing import NamedTuple

from aidge_quant.onnx_io.constants import FOLDERS, ONLY_CONSTANT
from aidge_quant.onnx_io.converters import CONVERTERS
from aidge_quant.ops import registered


class OperatorRow(NamedTuple):
    """One ONNX operator: the operators of our graph it becomes, and what is special."""

    onnx: str
    operators: tuple[str, ...]
    notes: str


#: What is special about the reading of an operator; nothing to say about the others.
NOTES: dict[str, str] = {
    "TanhClamp": "aidge_quant.training",
    "ScaleAdjust": "aidge_quant.training",
    "LSQ": "aidge_quant.training",
    "FixedQ": "aidge_quant.training",
    "DoReFa": "aidge_quant.training",
    "CGPACT": "aidge_quant.training",
    "BiasQuantizer": "aidge_quant.training",
    "AveragePool": "1-D and 2-D; ceil_mode, count_include_pad, auto_pad",
    "BatchNormalization": "inference form",
    "Cast": "between integers, from and to them; one float type to itself",
    "Clip": "constant bounds",
    "Constant": "a parameter; any form but text and sparse",
    "Conv": "1-D and 2-D; groups, dilation, asymmetric pads, auto_pad",
    "ConvInteger": "1-D and 2-D; groups, dilation, asymmetric pads, auto_pad",
    "ConvTranspose": "1-D and 2-D; groups, output_padding, output_shape, auto_pad",
    "DepthToSpace": "DCR and CRD",
    "DequantizeLinear": "one scale or one a channel; also com.microsoft; kept on constants",
    "Dropout": "inference form: does nothing",
    "Expand": "where nothing is repeated; constants are expanded",
    "Gather": "float execution; a table of quantized values from set_to_qdq",
    "Gemm": "FC where B and C are constant",
    "MatMul": "FC where the second operand is a constant matrix",
    "Max": "any number of inputs",
    "MaxPool": "1-D and 2-D; ceil_mode, dilation, auto_pad; no Indices",
    "Min": "any number of inputs",
    "Pad": "mode constant, constant pads",
    "Pow": "one constant exponent",
    "QGemm": "com.microsoft",
    "QLinearAdd": "com.microsoft",
    "QLinearAveragePool": "com.microsoft; channels first",
    "QLinearConcat": "com.microsoft",
    "QLinearConv": "1-D and 2-D; groups, dilation, asymmetric pads, auto_pad",
    "QLinearGlobalAveragePool": "com.microsoft; channels first",
    "QLinearLeakyRelu": "com.microsoft",
    "QLinearMul": "com.microsoft",
    "QLinearSigmoid": "com.microsoft",
    "QLinearSoftmax": "com.microsoft",
    "QuantizeLinear": "one scale or one a channel; also com.microsoft; kept on constants",
    "ReduceMax": "constant axes",
    "ReduceMean": "constant axes; GlobalAveragePool where they are the spatial ones",
    "Reshape": "constant shape; the batch stays free",
    "Resize": "nearest; every coordinate mode but tf_crop_and_resize",
    "Shape": "folded: sizes are known",
    "Size": "folded: sizes are known",
    "Slice": "constant bounds",
    "SpaceToDepth": "DCR and CRD",
    "Split": "constant sizes",
    "Squeeze": "constant axes",
    "Sum": "a chain of Add",
    "Unsqueeze": "constant axes",
    "Upsample": "nearest; opset 7 to 9",
}

#: Converters that make other operators than the registry says, or none.
_BECOMES: dict[str, tuple[str, ...]] = {
    "Constant": (),
    "ReduceMean": ("GlobalAveragePool", "ReduceMean"),
    "Shape": (),
    "Size": (),
}


def supported_operators() -> list[str]:
    """Return the ONNX operators that are read on computed data, in alphabetic order."""
    return sorted(set(CONVERTERS) - set(ONLY_CONSTANT))


def constant_operators() -> list[str]:
    """Return the ONNX operators that are read on constants only, in alphabetic order."""
    return sorted(set(ONLY_CONSTANT) & set(FOLDERS))


def operator_table() -> list[OperatorRow]:
    """Return one row for every ONNX operator that is read on computed data."""
    readers: dict[str, tuple[str, ...]] = {}
    for cls in registered().values():
        for name in cls.onnx or ():
            readers[name] = (*readers.get(name, ()), cls.__name__)
    readers.update(_BECOMES)
    return [
        OperatorRow(name, readers.get(name, ()), NOTES.get(name, ""))
        for name in supported_operators()
    ]


def operator_table_markdown() -> str:
    """Return the table as it stands in the README."""
    lines = ["| ONNX operator | becomes | notes |", "|---|---|---|"]
    for row in operator_table():
        lines.append(f"| {row.onnx} | {', '.join(row.operators) or 'a constant'} | {row.notes} |")
    lines.append(f"\nOn constants only: {', '.join(constant_operators())}.")
    return "\n".join(lines) + "\n"
