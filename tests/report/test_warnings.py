"""What the analysis warns of, each warning provoked, and none for a sound network."""

import numpy as np
import pytest
from float_networks import Net, chain, samples, trained_form
from graph_cases import CASES
from quantized_pairs import change, quantized

from aidge_quant import analyze
from aidge_quant.ops import FC, ReduceMax


@pytest.fixture
def pair():
    graph = chain()
    return graph, quantized(graph, samples(graph, 64))


def warned(pair, x, calibration=None) -> str:
    graph, copy = pair
    return "\n".join(analyze(graph, copy, x, calibration=calibration).warnings)


def test_a_sound_network_has_no_warnings(pair):
    x = samples(pair[0], 64)
    assert warned(pair, x, samples(pair[0], 64, seed=1)) == ""


def test_outputs_that_collapse_to_one_class(pair):
    x = samples(pair[0], 64)
    one_class = np.arange(7) == 2
    change(pair[1], "fc_w", lambda value: value // 8)
    change(pair[1], "fc_b", lambda value: value + one_class * 8000)
    message = warned(pair, x)
    assert "output collapses to one class: 100 % of the samples are class 2" in message
    assert "is the same for all samples" not in message


@pytest.mark.parametrize(("bias", "collapses"), [(0.9, True), (0.05, False)])
def test_most_samples_in_one_of_many_classes_are_a_collapse(bias, collapses):
    net = Net((16,))
    net.add(FC(), "fc", net.last, net.constant(np.eye(16), "w"), net.constant(np.zeros(16), "b"))
    graph = net.done()
    x = np.random.default_rng(0).uniform(-1, 1, (400, 16)).astype(np.float32)
    copy = quantized(graph, x)
    unit = 1 / 127**2  # of the accumulator: inputs and weights reach 1
    change(copy, "b", lambda value: value + (np.arange(16) == 5) * bias / unit)
    assert ("of the samples are class 5" in warned((graph, copy), x)) == collapses


def test_a_float_network_of_one_class_is_no_collapse():
    graph = chain()
    change(graph, "fc_b", lambda value: value + (np.arange(7) == 2) * 20)
    x = samples(graph, 64)
    assert warned((graph, quantized(graph, x)), x) == ""


def test_indices_collapse_as_classes_do():
    graph = CASES["global_maximum_and_index"]()
    x = samples(graph, 64)
    copy = quantized(graph, x)
    found = analyze(graph, copy, x)
    assert found.sqnr_db is None
    assert found.agreement > 0.9
    biases = [n.name for n in copy.nodes if n.name.startswith("vector")]
    channels = copy.node(biases[-1]).operator.value.size
    change(copy, biases[-1], lambda value: value + (np.arange(channels) == 1) * 10**6)
    assert "collapses to one class: 100 % of the samples are class 1" in warned((graph, copy), x)


def test_outputs_that_never_change(pair):
    x = samples(pair[0], 64)
    change(pair[1], "fc_w", lambda value: value * 0)
    assert "output is the same for all samples" in warned(pair, x)


def test_a_layer_that_never_changes(pair):
    x = samples(pair[0], 64)
    for name in ("conv2_w", "conv2_b"):
        change(pair[1], name, lambda value: value * 0)
    assert "conv2 (Convolution) gives one value for all samples" in warned(pair, x)


CALIBRATIONS = {
    "few": (lambda x: x[:31], "has 31 samples, expected 32 or more"),
    "zero": (lambda x: x * 0, "every calibration value is 0"),
    "narrow": (lambda x: x * 0.5, "calibrate on data that covers the samples"),
    "wide": (lambda x: x * 5, "calibrate on data of the same range"),
    "shifted": (lambda x: x * 0.5 + 2, "calibrate on data prepared as the samples are"),
}


@pytest.mark.parametrize("kind", CALIBRATIONS)
def test_calibration_data_that_is_not_like_the_samples(kind, pair):
    x = samples(pair[0], 64)
    make, message = CALIBRATIONS[kind]
    assert message in warned(pair, x, make(x).astype(np.float32))


def test_samples_a_little_outside_of_the_calibration_data_are_no_matter(pair):
    x = samples(pair[0], 64)
    assert warned(pair, x, x * np.float32(0.9)) == ""


@pytest.mark.parametrize(
    ("input_range", "message"),
    [(0.5, "of the sample values lie beyond"), (8.0, "the samples only")],
)
def test_samples_that_do_not_fit_the_quantized_input(input_range, message):
    graph = chain()
    x = samples(graph, 64)
    assert message in warned((graph, quantized(graph, x, input_range=input_range)), x)


def test_a_layer_that_stays_in_float_is_named():
    graph = trained_form()
    x = samples(graph, 64)
    assert "softmax (Softmax)" in warned((graph, quantized(graph, x)), x)
    assert "stays in float" in warned((graph, quantized(graph, x)), x)


def test_a_graph_that_cannot_be_lowered_gives_the_names_and_no_rows():
    graph = chain()
    x = samples(graph, 64)
    found = analyze(graph, quantized(graph, x, no_quant=True), x)
    assert found.rows == ()
    assert found.sqnr_db is None
    assert "cannot lower conv1 (Conv): its weight" in found.warnings[0]
    assert "no layer was measured" in str(found)


def test_nodes_that_cannot_be_quantized_are_named():
    net = Net((2, 3))
    net.add(FC(), "fc", net.last, net.constant(np.eye(3), "w"))
    net.add(ReduceMax((1,), False), "largest")
    graph = net.done()
    warnings = analyze(graph, graph, samples(graph, 40)).warnings
    assert warnings[0].startswith("largest (ReduceMax): the integer network has no layer for it")
    assert warnings[0].endswith("(not supported)")
