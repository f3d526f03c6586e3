"""The four networks of MLPerf Tiny, quantized for the benchmark on Cortex-M."""

import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

import aidge_quant as aq

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))  # the table of networks is the tests' own

from networks import NETWORKS, random_samples  # noqa: E402

CALIBRATION = 64
CASES = 2
#: Fixed: other weights would give other figures only where a kernel depends on its data.
SEED = 0

#: Cores that the other modes are measured on, besides the one that all are.
SOME = ("m4", "m55")


@dataclass(frozen=True)
class Mode:
    """A way to quantize and to export.

    Attributes
    ----------
    title : str
    cores : tuple of str, or None
        Where it is measured; None for everywhere.
    values, weights : dtype
    quantization, export : dict
        Options of ``quantize_network`` and of ``export_c``.
    """

    title: str
    cores: tuple[str, ...] | None = SOME
    values: aq.dtype = aq.dtype.int8
    weights: aq.dtype = aq.dtype.int8
    quantization: dict = field(default_factory=dict)
    export: dict = field(default_factory=dict)


MODES = {
    "tensor": Mode("tensor-wise", cores=None),
    "channel": Mode("channel-wise", quantization={"channel_wise": True}),
    "int4": Mode("int4 weights", ("m3", "m4"), weights=aq.dtype.int4),
    "int16": Mode("int16 activations", ("m3", "m4"), values=aq.dtype.int16),
    "stripes": Mode("in stripes", export={"stripes": True}),
}


@dataclass(frozen=True)
class Model:
    """A network of the benchmark.

    Attributes
    ----------
    title : str
        As the tables call it.
    source : str
        Name in the tests' table of networks.
    cut : bool
        Whether it is cut to 96 x 96 x 3 and two classes, with random weights.
    """

    title: str
    source: str
    cut: bool = False


MODELS = {
    "resnet8": Model("ResNet8", "resnet8_cifar10"),
    "kws": Model("DS-CNN (KWS)", "dscnn_kws"),
    "ad": Model("autoencoder (AD)", "ad01_autoencoder"),
    "vww": Model("MobileNetV1 0.25 (VWW)", "mobilenetv1_025", cut=True),
}


def quantized(name, mode):
    """Return the integer network of a model in a mode, and stored test inputs (cases, ...)."""
    model = MODELS[name]
    source = NETWORKS[model.source]
    if model.cut:
        graph = _visual_wake_words(source.file())
        samples = random_samples((3, 96, 96), CALIBRATION + CASES, SEED)
        calibration, test = samples[:CALIBRATION], samples[CALIBRATION:]
    else:
        graph = aq.load_onnx(source.file())
        data = source.samples()
        calibration, test = data.calibration[:CALIBRATION], data.test[:CASES]
    kind = MODES[mode]
    aq.auto_assign_node_precision(graph, kind.values, kind.weights, aq.dtype.int32)
    options = {"single_shift": True, "optimize_signs": True} | kind.quantization
    aq.quantize_network(graph, calibration, **options)
    network = aq.lower(graph)
    return network, network.quantize_input(test)


def _visual_wake_words(path):
    """Return the MobileNet of a file with 96 x 96 inputs, two classes and random weights.

    The weights are normal with a variance of 2 / fan-in, which keeps the activations' size from
    layer to layer; the biases are 0.
    """
    model = onnx.load(path)
    rng = np.random.default_rng(SEED)
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 96
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 96
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 2
    del model.graph.value_info[:]
    for tensor in model.graph.initializer:
        shape = list(tensor.dims)
        if tensor.name.startswith("conv_preds."):
            shape[0] = 2
        if tensor.name.endswith(".weight"):
            deviation = np.sqrt(2 / np.prod(shape[1:]))
            values = rng.normal(0, deviation, shape).astype(np.float32)
        elif tensor.name.endswith(".bias"):
            values = np.zeros(shape, np.float32)
        else:
            continue  # the bounds of the clips
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "vww.onnx"
        onnx.save(model, target)
        return aq.load_onnx(target)
