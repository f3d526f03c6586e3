"""Corrected biases: the means of the float network, and integers that agree as before."""

import numpy as np
import pytest
from float_networks import NETWORKS, Net, chain, depthwise, residual, samples

import aidge_quant as aq
from aidge_quant.dtypes import dtype
from aidge_quant.ops import ReLU

FORMS = {
    "shift": {"single_shift": True},
    "multiplier, channels, signs": {"channel_wise": True, "optimize_signs": True},
    "shift, not folded": {"single_shift": True, "fold_graph": False},
}


def quantized(graph, x, *, activation=dtype.int8, weight=dtype.int8, **options):
    aq.auto_assign_node_precision(graph, activation, weight, dtype.int32)
    aq.quantize_network(graph, x, **options)
    return graph


def error(make, x, test, **options):
    """Return the power of the error of the integer network over that of the float network."""
    expected = aq.run(make(), test)
    network = aq.lower(quantized(make(), x, **options))
    real = network.dequantize_output(network.run(network.quantize_input(test)))
    return float(np.square(real - expected).sum() / np.square(expected).sum())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("make", [chain, depthwise, residual])
def test_the_means_of_the_outputs_are_those_of_the_float_network(make, form):
    graph = make()
    x = samples(graph, 64)
    expected = aq.run(graph, x).mean(axis=0)
    options = {"activation": dtype.int16, "weight": dtype.int4, **FORMS[form]}
    distances = []
    for correct in (False, True):
        network = aq.lower(quantized(make(), x, correct_biases=correct, **options))
        real = network.dequantize_output(network.run(network.quantize_input(x)))
        distances.append(float(np.abs(real.mean(axis=0) - expected).max()))
    # 16 bits, so that a pool or a ReLU behind the last bias adds next to nothing to its mean.
    assert distances[1] < distances[0] / 20


@pytest.mark.parametrize("make", [chain, depthwise, residual])
def test_four_bit_weights_lose_less_on_new_samples(make):
    x, test = samples(make(), 64), samples(make(), 256, seed=1)
    options = {"weight": dtype.int4, "channel_wise": True}
    corrected = error(make, x, test, correct_biases=True, **options)
    assert corrected < 0.9 * error(make, x, test, **options)


def without_biases():
    net = Net((2, 5, 5), 9)
    net.conv("conv1", (2, 4), bias=False)
    net.add(ReLU(), "relu")
    net.conv("conv2", (4, 4), groups=2, bias=False)
    return net.done()


def test_layers_without_a_bias_get_one_and_only_on_request():
    graph = without_biases()
    x, test = samples(graph, 64), samples(graph, 64, seed=1)
    assert not quantized(without_biases(), x).node("conv1").has_input(2)
    corrected = quantized(without_biases(), x, correct_biases=True)
    assert corrected.node("conv2").input(2).node.operator.value.any()
    options = {"weight": dtype.int4}
    plain = error(without_biases, x, test, **options)
    assert error(without_biases, x, test, correct_biases=True, **options) < plain


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_golden_model_equals_the_graph(name, form):
    graph = NETWORKS[name]()
    x = samples(graph, 16)
    quantized(graph, x, correct_biases=True, rescale_inputs=True, **FORMS[form])
    network = aq.lower(graph)
    golden = network.run(network.quantize_input(x))
    zero_point = network.tensor(network.outputs[0]).zero_point
    assert np.array_equal(aq.run(graph, x), golden.astype(np.int64) - zero_point)


def test_the_c_equals_the_golden_model(tmp_path):
    graph = residual()
    x = samples(graph, 16)
    network = aq.lower(quantized(graph, x, correct_biases=True, single_shift=True))
    q = network.quantize_input(x)
    aq.export_c(network, tmp_path / "net", name="net", test_inputs=q[:2])
    check = aq.verify_c(tmp_path / "net", network, q)
    assert check.identical == check.total > 0


def test_nothing_is_corrected_without_rounding():
    graph, other = residual(), residual()
    x = samples(graph)
    quantized(graph, x, no_quant=True, correct_biases=True)
    quantized(other, x, no_quant=True)
    assert np.array_equal(aq.run(graph, x), aq.run(other, x))
