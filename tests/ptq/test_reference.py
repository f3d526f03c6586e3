"""Against the reference system of the published API: its integers, its figures, not its defects."""

import logging

import numpy as np
import pytest
from shared_data import shared_path

from aidge_quant.dtypes import dtype
from aidge_quant.executor import run
from aidge_quant.graph import Annotation, GraphView
from aidge_quant.integer.lowering.lower import lower
from aidge_quant.onnx_io import load_onnx
from aidge_quant.ptq import (
    auto_assign_node_precision,
    check_architecture,
    cross_layer_equalization,
    prepare_network,
    quantize_network,
)
from aidge_quant.ptq.flow import source

#: Accuracy of the reference on 500 images, the best of its rows, and the options of that row. Ours
#: may miss one image: the reference's global pools round ties in no predictable way.
BEST = {
    "mlp": (0.960, {}),
    "lenet": (0.970, {"single_shift": True}),
    "lenet_imb": (0.990, {"single_shift": True}),
    "resnet": (0.996, {"single_shift": True, "equalize": False}),
    "dwsep": (0.974, {"single_shift": True}),
    "mbv2r": (0.983, {"single_shift": True, "equalize": False}),
    "mbv2r_imb": (0.980, {}),
}


def quantized(
    name: str, activation: dtype = dtype.int8, weight: dtype = dtype.int8, **options
) -> GraphView:
    graph = load_onnx(shared_path("aidge_reference", f"{name}.onnx"))
    data = np.load(shared_path("aidge_reference", f"{name}.npz"))
    auto_assign_node_precision(graph, activation, weight, dtype.int32)
    quantize_network(graph, [data["calib"][i : i + 1] for i in range(64)], **options)
    return graph


def figures(name: str, graph: GraphView) -> tuple[float, float]:
    """Return accuracy and SQNR in dB of the integer graph on the 500 test images."""
    data = np.load(shared_path("aidge_reference", f"{name}.npz"))
    out = run(graph, np.floor(127 * data["test"] + np.float32(0.5)))
    real = out * source(graph.outputs[0].port).annotations[Annotation.SCALE]
    expected = data["float_out"].astype(np.float64)
    noise = np.sum((expected - real) ** 2)
    accuracy = np.mean(out.argmax(axis=1) == data["test_y"])
    return float(accuracy), float(10 * np.log10(np.sum(expected**2) / noise))


@pytest.mark.parametrize("name", ["mlp", "lenet"])
def test_default_integers_equal_those_of_the_reference(name):
    graph = quantized(name, single_shift=True)
    vectors = np.load(shared_path("aidge_reference", f"{name}_aidge_ss.npz"))
    found = run(graph, vectors["x"])
    assert found.shape == vectors["y"].shape
    assert np.array_equal(found, vectors["y"])


@pytest.mark.parametrize(
    ("name", "sweeps"), [("mlp", 5), ("lenet", 6), ("lenet_imb", 9), ("dwsep", 21), ("resnet", 2)]
)
def test_equalization_takes_the_sweeps_of_the_reference(name, sweeps, caplog):
    graph = load_onnx(shared_path("aidge_reference", f"{name}.onnx"))
    prepare_network(graph)
    with caplog.at_level(logging.DEBUG, "aidge_quant"):
        cross_layer_equalization(graph)
    assert f", {sweeps} sweeps" in caplog.text


@pytest.mark.parametrize("name", BEST)
def test_accuracy_is_at_least_that_of_the_reference(name):
    best, options = BEST[name]
    assert figures(name, quantized(name, **options))[0] >= best - 0.002


# What follows are the defects of the reference system, in the order in which the shared notes list
# them: ours has none of them.


def test_channel_wise_depthwise_weights_do_not_lose_accuracy():
    accuracy, sqnr = figures("dwsep", quantized("dwsep", channel_wise=True, single_shift=True))
    assert accuracy >= 0.970  # the reference: .806, for maxima along the wrong axis
    assert sqnr > 25


#: Accuracy that four-bit weights leave; of the reference, whose biases have the wrong scale: .246,
#: .120, .183.
FOUR_BITS = {"resnet": 0.97, "dwsep": 0.93, "mbv2r": 0.96}


@pytest.mark.parametrize("name", FOUR_BITS)
def test_weights_of_other_bits_than_the_activations_do_not_collapse(name):
    graph = quantized(name, weight=dtype.int4, channel_wise=True, single_shift=True)
    assert figures(name, graph)[0] >= FOUR_BITS[name]


#: Types other than int8 (activations, weights) and the SQNR in dB that lenet reaches.
TYPES = {
    "W4A8": (dtype.int8, dtype.int4, 13),
    "W16A8": (dtype.int8, dtype.int16, 35),
    "W8A16": (dtype.int16, dtype.int8, 37),
    "W16A16": (dtype.int16, dtype.int16, 55),
    "W4A16": (dtype.int16, dtype.int4, 13),
}


@pytest.mark.parametrize("types", TYPES)
def test_four_and_sixteen_bits_are_integers(types):
    activation, weight, least = TYPES[types]
    graph = quantized("lenet", activation, weight, single_shift=True)
    kinds = {node.operator.element_type for node in graph.nodes if node.type == "Quantizer"}
    assert kinds == {activation}  # the reference: fake quantization only
    data = np.load(shared_path("aidge_reference", "lenet.npz"))
    network = lower(graph)
    q = network.quantize_input(data["test"])
    golden = network.run(q)
    assert golden.dtype == activation.numpy
    assert np.array_equal(golden, run(graph, q))
    expected = data["float_out"].astype(np.float64)
    noise = np.square(network.dequantize_output(golden) - expected).sum()
    assert 10 * np.log10(np.square(expected).sum() / noise) > least


def test_signs_do_not_collapse_the_residual_network():
    options = {"optimize_signs": True, "single_shift": True}
    assert figures("resnet", quantized("resnet", **options))[0] >= 0.992  # the reference: .592


def test_signs_are_heeded_in_integers():
    types = [
        {node.operator.element_type for node in graph.nodes if node.type == "Quantizer"}
        for graph in (quantized("lenet"), quantized("lenet", optimize_signs=True))
    ]
    assert types == [{dtype.int8}, {dtype.int8, dtype.uint8}]


@pytest.mark.parametrize("name", ["lenet", "resnet", "dwsep"])
def test_a_network_that_is_not_rounded_runs(name):
    data = np.load(shared_path("aidge_reference", f"{name}.npz"))
    found = run(quantized(name, no_quant=True, dequantize=True), 127 * data["test"])
    scale = np.abs(data["float_out"]).max()
    assert np.abs(found - data["float_out"]).max() < 1e-4 * scale


@pytest.mark.parametrize("name", ["mbv2", "mbv2_imb"])
def test_relu6_is_accepted_and_quantized(name):
    assert check_architecture(load_onnx(shared_path("aidge_reference", f"{name}.onnx")))
    graph = quantized(name, single_shift=True, channel_wise=True)
    assert figures(name, graph)[0] >= 0.98
