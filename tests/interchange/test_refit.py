"""Imported networks with one shift a layer."""

import numpy as np
import pytest
from networks import NETWORKS
from ort_quantized import VARIANTS, quantized
from qdq_idioms import IN, MODELS, SHAPE, on_grid
from qdq_models import QdqModel

import aidge_quant as aq
from aidge_quant.interchange import fit_power_of_two, from_qdq
from aidge_quant.onnx_io.reader import read_model


def single(network):
    """Whether every requantization of a network is one shift, rounding half up."""
    forms = [getattr(layer, "requantization", None) for layer in network.layers]
    return all(f is None or (f.multiplier is None and f.rounding == "half_up") for f in forms)


@pytest.mark.parametrize("name", MODELS)
def test_every_idiom_can_do_with_one_shift(name):
    m = QdqModel(SHAPE)
    graph = read_model(m.build(MODELS[name](m, m.through("x", IN))))
    from_qdq(graph)
    before = str(graph)
    x = on_grid(SHAPE)
    fit = fit_power_of_two(graph, x)
    assert str(graph) == before
    assert single(fit.network)
    # The outputs of means are a few steps large, so that one step is a lot of them.
    assert fit.sqnr_db > (14 if "mean" in name or "global" in name else 25)
    assert fit.cost_db is None
    y = np.asarray(aq.run(fit.graph, x), np.float64)
    stored = fit.network.run(fit.network.quantize_input(x))
    tensor = fit.network.tensor(fit.network.outputs[0])
    np.testing.assert_array_equal(y, stored.astype(np.float64) - tensor.zero_point)


def test_what_changed_is_named_and_scales_stay():
    m = QdqModel(SHAPE)
    graph = read_model(m.build(MODELS["conv_with_bias_and_relu"](m, m.through("x", IN))))
    from_qdq(graph)
    fit = fit_power_of_two(graph, on_grid(SHAPE))
    assert fit.changed == ("conv_weight", "conv_bias")
    networks = aq.lower(graph), fit.network
    scales = [[float(t.scale) for t in network.tensors] for network in networks]
    assert scales[0] == scales[1]


def test_the_scale_of_a_mean_moves():
    m = QdqModel(SHAPE)
    graph = read_model(m.build(MODELS["global_average_and_flatten"](m, m.through("x", IN))))
    from_qdq(graph)
    fit = fit_power_of_two(graph, on_grid(SHAPE))
    mean = next(layer for layer in fit.network.layers if layer.kind == "AveragePool")
    assert mean.output in fit.changed
    # 36 positions: scale of the sum is that of the input / 36, times a power of two
    power = np.log2(fit.network.tensor(mean.output).scale * 36 / np.float64(np.float32(IN[0])))
    assert power == np.round(power)


@pytest.mark.parametrize("name", ["dscnn_kws", "mnist_cntk"])
def test_networks_lose_little(name, tmp_path):
    graph = aq.load_onnx(quantized(name, VARIANTS[1], "QDQ", tmp_path))
    from_qdq(graph)
    samples = NETWORKS[name].samples()
    reference = aq.load_onnx(NETWORKS[name].file()) if name == "dscnn_kws" else None
    fit = fit_power_of_two(graph, samples.calibration[:64].astype(np.float32), reference=reference)
    assert single(fit.network)
    assert fit.sqnr_db > 28
    assert fit.cost_db is None or fit.cost_db < 1
    q = fit.network.quantize_input(samples.test[:10].astype(np.float32))
    aq.export_c(fit.network, tmp_path / "c", name="net", test_inputs=q[:2])
    result = aq.verify_c(tmp_path / "c", fit.network, q)
    assert result.identical == result.total == 10
