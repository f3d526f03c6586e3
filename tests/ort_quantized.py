"""Models quantized by ONNX Runtime's quantize_static, and the integers that it computes."""

import logging
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
from networks import NETWORKS

from aidge_quant.integer.run import run_layer


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
        if node.input[0] in made and made[node.input[0]].op_type == "QLinearSoftmax":
            found.append((output.name, made[node.input[0]].input[0]))
            continue
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
    declared = {info.name for info in model.graph.output}
    for tensor in tensors:
        if tensor not in declared:
            model.graph.output.append(onnx.ValueInfoProto(name=tensor))
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


def stored(integers: np.ndarray) -> np.ndarray:
    """Return integers as the network stores them: unsigned ones less half their range."""
    half = 0 if integers.dtype.kind == "i" else 1 << (8 * integers.dtype.itemsize - 1)
    return integers.astype(np.int64) - half


def quantized_tensors(model: onnx.ModelProto) -> dict[str, str]:
    """Return the tensor of every node that quantizes, by the name of our Quantizer."""
    constant = {tensor.name for tensor in model.graph.initializer}
    made = {output: node for node in model.graph.node for output in node.output}
    found = {}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] not in constant:
            found[node.name] = node.output[0]
            if node.input[0] in made and made[node.input[0]].op_type in ("Relu", "Clip"):
                found[made[node.input[0]].name] = node.output[0]
        elif node.op_type.startswith("Q") and node.op_type != "QuantizeLinear":
            found[f"{node.name}_QuantizeLinear"] = node.output[0]
    return found


def _on_int8(model: onnx.ModelProto, node: onnx.NodeProto) -> bool:
    zero_points = {t.name: t.data_type for t in model.graph.initializer}
    return zero_points[node.input[2]] == onnx.TensorProto.INT8


class Agreement(NamedTuple):
    """How the integers of one tensor compare with ONNX Runtime's."""

    tensor: str
    equal: float
    largest: int


def compare(network, path: Path, x: np.ndarray) -> tuple[list[Agreement], list[Agreement]]:
    """Return the agreement of each layer by itself, fed with ONNX Runtime's integers, and of the
    outputs of the network fed with its input.
    """
    model = onnx.load(path)
    tensors = quantized_tensors(model)
    last = last_integers(model)
    names = list(dict.fromkeys([*tensors.values(), *(tensor for _, tensor in last)]))
    # That option leaves QLinear operators on int8 without a kernel; their sums are exact anyway.
    plain = any(
        n.op_type in ("QLinearConv", "QGemm") and _on_int8(model, n) for n in model.graph.node
    )
    computed = dict(zip(names, run_integers(path, x, names, exact=not plain), strict=True))
    arrays = [computed[tensor] for tensor in tensors.values()]
    theirs = {}
    for name, array in zip(tensors, arrays, strict=True):
        if any(tensor.name == name for tensor in network.tensors):
            tensor = network.tensor(name)
            theirs[name] = stored(array).reshape(len(x), *tensor.onnx_shape)
    values = {n: network.tensor(n).from_onnx(theirs[n].astype(np.int8)) for n in network.inputs}
    layers = []
    for layer in network.layers:
        tensor = network.tensor(layer.output)
        result = run_layer(layer, [values[name] for name in layer.inputs], tensor)
        values[layer.output] = result
        if layer.output in theirs:
            wanted = tensor.from_onnx(theirs[layer.output].astype(tensor.dtype.numpy))
            layers.append(_agreement(layer.output, result, wanted))
            values[layer.output] = wanted
    feeds = {
        name: theirs[tensor].astype(np.int8)
        for tensor, name in zip(network.inputs, network.input_names, strict=True)
    }
    results = network.run(feeds)
    results = results if isinstance(results, dict) else {network.output_names[0]: results}
    outputs = []
    for name, tensor in last:
        wanted = stored(computed[tensor]).reshape(results[name].shape)
        outputs.append(_agreement(tensor, results[name], wanted))
    return layers, outputs


def _agreement(name: str, found: np.ndarray, wanted: np.ndarray) -> Agreement:
    difference = np.abs(found.astype(np.int64) - wanted.astype(np.int64))
    return Agreement(name, float(np.mean(difference == 0)), int(difference.max()))
