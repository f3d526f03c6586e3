"""Every rule of the advice, provoked by a small network that has the trouble."""

import dataclasses

import numpy as np
import pytest
from float_networks import Net, chain, samples
from quantized_pairs import quantized

from aidge_quant import analyze
from aidge_quant.dtypes import dtype
from aidge_quant.graph import GraphView
from aidge_quant.ops import FC, Add, GlobalAveragePool, ReLU, Sigmoid
from aidge_quant.report import advice


def advised(graph: GraphView, copy: GraphView, x) -> dict[str, str]:
    """Return the advice by layer, bad layers only."""
    return {row.layer: row.advice for row in analyze(graph, copy, x).rows if row.advice}


def linear(weight, *more) -> GraphView:
    net = Net((len(weight[0]),))
    net.add(FC(), "fc", net.last, net.constant(weight, "w"))
    for operator in more:
        net.add(operator, operator.type)
    return net.done()


def uniform(*shape, scale=1.0):
    return (np.random.default_rng(0).uniform(-1, 1, shape) * scale).astype(np.float32)


def test_a_good_network_needs_no_advice():
    graph = chain()
    x = samples(graph, 64)
    assert advised(graph, quantized(graph, x), x) == {}


def test_values_that_are_cut_off_ask_for_more_calibration_data():
    graph = linear([[1.0, 1.0]])
    x = uniform(200, 2)
    found = advised(graph, quantized(graph, x * np.float32([1, 0]), input_range=1.0), x)
    assert "are cut off: calibrate on more data" in found["fc"]


def test_averages_on_a_coarse_scale_ask_for_more_bits():
    net = Net((2, 24, 24))
    net.conv("conv", (2, 4), bias=False)
    net.add(GlobalAveragePool(), "gap")
    graph = net.done()
    x = samples(graph, 40)
    found = advised(graph, quantized(graph, x), x)
    assert list(found) == ["gap"]
    assert "on the scale of its input" in found["gap"]


def test_uneven_channels_ask_for_scales_by_channel():
    # The first input is always small: its channel needs large weights, which make the unit coarse.
    weight = np.array([[60.0, 0, 0], [0, 0.9, 0.4], [0, 0.3, -0.8]])
    x = uniform(200, 3) * np.float32([0.01, 1, 1])
    graph = linear(weight)
    found = advised(graph, quantized(graph, x, equalize=False), x)
    assert "the widest channel of its weight is 97 times the narrowest" in found["fc"]
    assert "channel_wise=True" in found["fc"]
    assert advised(graph, quantized(graph, x, channel_wise=True), x) == {}


def test_uneven_weights_within_the_channels_ask_for_more_weight_bits():
    weight = np.array([[60.0, 0.9, 0.4], [55.0, 0.3, -0.8]])
    x = uniform(200, 3) * np.float32([0.01, 1, 1])
    graph = linear(weight)
    found = advised(graph, quantized(graph, x), x)
    assert "more than 8 bits for them, or scales by channel" in found["fc"]
    found = advised(graph, quantized(graph, x, channel_wise=True), x)
    assert found["fc"].endswith("use more than 8 bits for them")


def test_a_range_shared_with_the_other_branch_is_named():
    net = Net((4,))
    start = net.last
    for name, factor in (("large", 8.0), ("small", 1.0)):
        weight = net.random.normal(0, factor, (5, 4))
        net.add(FC(), name, start, net.constant(weight, f"{name}_w"))
    net.add(Add(), "add", net.graph.node("large"), net.graph.node("small"))
    graph = net.done()
    x = uniform(100, 4)
    found = advised(graph, quantized(graph, x), x)
    assert list(found) == ["small"]
    assert "because add (Add) wants all its inputs on one scale" in found["small"]


def test_a_range_that_is_never_used_asks_for_typical_calibration_data():
    graph = linear([[1.0, 1.0]])
    x = uniform(100, 2, scale=0.4)
    calibration = np.concatenate([x, [[1.0, 1.0]]]).astype(np.float32)
    found = advised(graph, quantized(graph, calibration), x)
    assert "are never used: the calibration data has outliers" in found["fc"]


def test_values_of_one_sign_are_no_sign_of_outliers():
    graph = linear([[1.0, 0.5]])
    x = np.abs(uniform(100, 2, scale=0.9))
    copy = quantized(graph, x, input_range=2.5)
    (row,) = analyze(graph, copy, x).rows
    assert row.unused_bits > 1
    assert row.advice == ""


def test_a_table_uses_what_its_values_reach():
    graph = linear([[1.0, 0.5]], Sigmoid())  # 0.18 to 0.82 of the 0 to 1 that it could give
    x = uniform(500, 2)
    copy = quantized(graph, x)
    table = next(row for row in analyze(graph, copy, x).rows if row.kind == "Lookup")
    assert table.unused_bits < 0.1
    assert table.advice == ""


def test_outliers_among_the_samples_ask_for_clipping():
    graph = linear(np.random.default_rng(1).normal(0, 1, (4, 4)))
    x = uniform(4000, 4, scale=0.03)
    x[0] = 1
    x[1] = -1
    found = advised(graph, quantized(graph, x), x)
    assert "clip the outliers (clipping_mode MSE or KL)" in found["fc"]


def test_a_coarse_relu_asks_for_all_levels():
    graph = linear(np.eye(4), ReLU())
    x = uniform(500, 4)
    found = advised(graph, quantized(graph, x, activations=dtype.int4), x)
    assert "optimize_signs=True" in found["fc"]


def test_a_coarse_output_asks_for_more_bits():
    graph = linear(np.eye(4))
    x = uniform(500, 4)
    found = advised(graph, quantized(graph, x, activations=dtype.int4), x)
    assert found["fc"].endswith("use more than 4 bits for its output")


def test_a_rule_looks_at_its_threshold(monkeypatch):
    graph = chain()
    x = samples(graph, 64)
    strict = dataclasses.replace(advice.THRESHOLDS, alone_db=200.0)
    monkeypatch.setattr(advice, "THRESHOLDS", strict)
    assert len(advised(graph, quantized(graph, x), x)) == 3


def test_dead_channels_do_not_count_as_narrow():
    weight = np.array([[0.9, 0.5], [0, 0], [0.6, -0.8]])
    graph = linear(weight)
    x = uniform(50, 2)
    (row,) = analyze(graph, quantized(graph, x), x).rows
    assert row.weight_spread == pytest.approx(0.9 / 0.8, rel=0.02)
