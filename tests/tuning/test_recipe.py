"""The recipe on small networks of every kind, and its promises."""

import numpy as np
import pytest
from feeds import feeds, named
from graph_cases import CASES

import aidge_quant as aq
from aidge_quant.integer.layers import Affine
from aidge_quant.tuning.evaluation import Evaluation

SAMPLES = 24


def quantized(name, **options):
    graph = CASES[name]()
    return aq.quantize(graph, [feeds(graph, SAMPLES, 1)], effort="fast", **options)


def sqnr(network, graph, x):
    real, expected = named(network.dequantize_output(network.run(network.quantize_input(x)))), {}
    expected = named(aq.run(graph, x))
    noise = sum(np.square(real[key] - expected[key]).sum() for key in expected)
    return -10 * np.log10(noise / sum(np.square(y).sum() for y in expected.values()))


OPTIONS = [
    {},
    {"per_channel": False},
    {"weight_bits": 4},
    {"weight_bits": 16},
    {"activation_bits": 16},
    {"weight_bits": 16, "activation_bits": 16},
    {"weight_bits": 4, "activation_bits": 16, "per_channel": False},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_the_graph_and_the_network_give_the_same_integers(name, options):
    result = quantized(name, **options)
    x = feeds(CASES[name](), 6, 2)
    network = result.network
    golden = named(network.run(network.quantize_input(x)))
    executed = named(aq.run(result.graph, x))
    for key, tensor in zip(network.output_names, network.outputs, strict=True):
        kept = golden[key].astype(np.int64) - network.tensor(tensor).zero_point
        assert np.array_equal(kept, executed[key]), key


@pytest.mark.parametrize("name", ["chain", "residual", "depthwise_separable_relu6"])
def test_it_is_at_least_as_near_to_float_as_the_published_pipeline(name):
    graph, other = CASES[name](), CASES[name]()
    x, test = feeds(graph, 64, 1), feeds(graph, 64, 2)
    result = aq.quantize(graph, x, effort="balanced")
    aq.auto_assign_node_precision(other, aq.dtype.int8, aq.dtype.int8, aq.dtype.int32)
    aq.quantize_network(other, x, single_shift=True, channel_wise=True, optimize_signs=True)
    assert sqnr(result.network, graph, test) > sqnr(aq.lower(other), graph, test)


def test_every_layer_ends_in_a_shift():
    result = quantized("residual")
    layers = [layer for layer in result.network.layers if isinstance(layer, Affine)]
    assert layers
    assert all(layer.requantization.multiplier is None for layer in layers)


@pytest.mark.slow
def test_equal_seeds_give_equal_networks_and_the_input_stays():
    graph = CASES["residual"]()
    before, x = str(graph), feeds(graph, SAMPLES, 1)
    first, second = (aq.quantize(graph, x, effort="balanced", seed=3) for _ in range(2))
    assert first.network.digest == second.network.digest
    assert str(graph) == before


def test_a_step_is_kept_exactly_if_the_held_back_error_falls():
    ladder = quantized("chain").ladder
    assert len(ladder) > 4
    for rung in ladder:
        assert rung.kept == (rung.after > rung.before)
        assert rung.step in str(ladder)


def test_four_bit_weights_are_packed_and_run_in_c(tmp_path):
    result = quantized("residual", weight_bits=4)
    q = result.network.quantize_input(feeds(CASES["residual"](), 5, 2))
    aq.export_c(result.network, tmp_path / "c", name="net", test_inputs=q[:2])
    check = aq.verify_c(tmp_path / "c", result.network, q)
    assert check.identical == check.total
    weights = [layer.weight_dtype for layer in result.network.layers if isinstance(layer, Affine)]
    assert set(weights) == {aq.dtype.int4}


@pytest.mark.parametrize("name", ["average_pools", "shortcut_without_parameters", "concatenation"])
def test_the_c_equals_the_golden_model(name, tmp_path):
    result = quantized(name)
    q = result.network.quantize_input(feeds(CASES[name](), 5, 2))
    aq.export_c(result.network, tmp_path / "c", name="net", test_inputs=q[:2])
    check = aq.verify_c(tmp_path / "c", result.network, q)
    assert check.identical == check.total


def test_averages_become_sums_with_a_shift():
    layers = quantized("average_pools").network.layers
    pools = [layer for layer in layers if layer.kind == "AveragePool"]
    assert any(layer.requantization is not None for layer in pools)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"effort": "best"}, "effort: expected one of fast, balanced, high, got 'best'"),
        ({"weight_bits": 3}, "weight_bits: expected 4, 8 or 16, got 3"),
        ({"activation_bits": 4}, "activation_bits: expected 8 or 16, got 4"),
        ({"single_shift": False}, "single_shift=False"),
    ],
)
def test_options_that_do_not_exist_are_refused(options, match):
    graph = CASES["chain"]()
    with pytest.raises(aq.UnsupportedError, match=match):
        aq.quantize(graph, feeds(graph, SAMPLES, 1), **options)


def test_too_few_samples_are_refused():
    graph = CASES["chain"]()
    with pytest.raises(aq.DataError, match="expected at least 8 samples, .* got 7"):
        aq.quantize(graph, feeds(graph, 7, 1))


def test_an_evaluation_counts_the_changed_layers_only(monkeypatch):
    result = quantized("chain")
    graph = CASES["chain"]()
    x = feeds(graph, 8, 1)
    evaluation = Evaluation({"input": x}, {"output": aq.run(graph, x)})
    first = evaluation.sqnr(result.network)
    monkeypatch.setattr(
        "aidge_quant.tuning.evaluation.run_layer", lambda *_: pytest.fail("computed again")
    )
    assert evaluation.sqnr(result.network) == first
    expected = sqnr(result.network, graph, x)
    assert first == pytest.approx(expected, abs=1e-5)  # float32 sums there, float64 here
