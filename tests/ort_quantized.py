"""Models quantized by ONNX Runtime's quantize_static, and the integers that it computes."""

import logging
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
from networks import NETWORKS
from onnx import TensorProto, helper


class Variant(NamedTuple):
    """How quantize_static is called."""

    name: str
    activation: str
    weight: str
    per_channel: bool
    symmetric: bool


VARIANTS = (
    Variant("u8_tensor", "QUInt8", "QInt8", False, False),
    Variant("u8_channel", "QUInt8", "QInt8", True, False),
    Variant("s8_channel_symmetric", "QInt8", "QInt8", True, True),
    Variant("s8_tensor", "QInt8", "QInt8", False, False),
)


def quantized(name: str, variant: Variant, form: str, folder: Path) -> Path:
    """Quantize a shared network by ONNX Runtime; form is QDQ or QOperator."""
    quantization = pytest.importorskip("onnxruntime.quantization")
    network = NETWORKS[name]
    source, target = folder / f"{name}.onnx", folder / f"{name}_{variant.name}_{form}.onnx"
    model = onnx.load(network.file())
    if model.opset_import[0].version < 13:
        model = onnx.version_converter.convert_version(model, 13)
    stored = {tensor.name for tensor in model.graph.initializer}
    onnx.save(model, source)
    data = next(info.name for info in model.graph.input if info.name not in stored)
    samples = network.samples().calibration[:32].astype(np.float32)

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter([{data: sample[None]} for sample in samples])

        def get_next(self):
            return next(self.batches, None)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        level = logging.root.level
        logging.root.setLevel(logging.ERROR)
        quantization.quantize_static(
            str(source),
            str(target),
            Reader(),
            quant_format=quantization.QuantFormat[form],
            activation_type=quantization.QuantType[variant.activation],
            weight_type=quantization.QuantType[variant.weight],
            per_channel=variant.per_channel,
            extra_options={"ActivationSymmetric": variant.symmetric},
        )
        logging.root.setLevel(level)
    return target


def last_integers(model: onnx.ModelProto) -> list[tuple[str, str]]:
    """Return output names with the integer tensor of the DequantizeLinear that gives each."""
    made = {output: node for node in model.graph.node for output in node.output}
    found = []
    for output in model.graph.output:
        node = made[output.name]
        first, second = made.get(node.input[0]), None
        if first is not None and first.op_type == "QuantizeLinear":
            second = made[first.input[0]]
        if second is not None and second.op_type == "Softmax":
            node = second
        while node.op_type in ("Softmax", "Flatten", "Reshape"):
            node = made[node.input[0]]
        assert node.op_type == "DequantizeLinear", node.op_type
        found.append((output.name, node.input[0]))
    return found


def run_integers(
    path: Path, x: np.ndarray, tensors: list[str], *, exact: bool = True
) -> list[np.ndarray]:
    """Return integer tensors of a model as ONNX Runtime computes them, a sample at a time.

    ``exact`` asks for kernels whose sums of uint8 times int8 do not saturate on processors without
    the instructions for them.
    """
    runtime = pytest.importorskip("onnxruntime")
    model = onnx.load(path)
    known = {info.name for info in model.graph.output}
    types = {t.name: t.data_type for t in model.graph.initializer}
    made = {output: node for node in model.graph.node for output in node.output}
    for tensor in tensors:
        if tensor not in known:
            node = made[tensor]
            while node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
                if node.op_type.startswith("Q"):
                    break
                node = made[node.input[0]]
            zero = {"QLinearConv": 7, "QGemm": 8, "QLinearConcat": 1, "QLinearMatMul": 7}
            zero |= {"QLinearAdd": 7, "QLinearMul": 7, "QuantizeLinear": 2}
            kind = types[node.input[zero.get(node.op_type, 4)]]
            model.graph.output.append(helper.make_tensor_value_info(tensor, kind, None))
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if exact:
        options.add_session_config_entry("session.x64quantprecision", "1")
    session = runtime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feed = session.get_inputs()[0].name
    rows = [session.run(tensors, {feed: sample[None]}) for sample in x]
    return [np.concatenate(parts) for parts in zip(*rows, strict=True)]


__all__ = ["VARIANTS", "TensorProto", "Variant", "last_integers", "quantized", "run_integers"]
