"""Lowered networks against the graphs they come from."""

import numpy as np
import pytest
from graph_cases import CASES

from aidge_quant.dtypes import dtype
from aidge_quant.errors import UnsupportedError
from aidge_quant.executor import run
from aidge_quant.integer.lowering.lower import RULES, lower
from aidge_quant.ops import Trait, registered
from aidge_quant.ptq import auto_assign_node_precision, quantize_network
from aidge_quant.ptq.architecture import WITHOUT_LAYER

MODES = {
    "shift": {"single_shift": True},
    "shift-channels": {"single_shift": True, "channel_wise": True},
    "shift-signs": {"single_shift": True, "optimize_signs": True},
    "multiplier": {},
    "multiplier-channels": {"channel_wise": True, "optimize_signs": True},
}


def feeds(graph, count, seed):
    rng = np.random.default_rng(seed)
    arrays = {
        node.name: rng.uniform(-1, 1, (count, *node.operator.shape[1:])).astype(np.float32)
        for node in graph.inputs
    }
    return arrays if len(arrays) > 1 else next(iter(arrays.values()))


def quantized(name, **options):
    graph = CASES[name]()
    auto_assign_node_precision(graph, dtype.int8, dtype.int8, dtype.int32)
    calibration = feeds(graph, 24, 1)
    quantize_network(
        graph, [calibration] if isinstance(calibration, dict) else calibration, **options
    )
    return graph


def named(arrays):
    return arrays if isinstance(arrays, dict) else {"output": arrays}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CASES)
def test_the_golden_model_equals_the_quantized_graph(name, mode):
    graph = quantized(name, **MODES[mode])
    network = lower(graph)
    q = network.quantize_input(feeds(graph, 6, 2))
    golden, executed = named(network.run(q)), named(run(graph, q))
    for key, tensor in zip(network.output_names, network.outputs, strict=True):
        assert golden[key].shape == executed[key].shape
        kept = golden[key].astype(np.int32) - network.tensor(tensor).zero_point
        assert np.array_equal(kept, executed[key]), key


@pytest.mark.parametrize("name", CASES)
def test_integers_stay_near_the_float_network(name):
    graph = CASES[name]()
    network = lower(quantized(name, single_shift=True, channel_wise=True))
    x = feeds(graph, 24, 1)
    real = named(network.dequantize_output(network.run(network.quantize_input(x))))
    for key, expected in named(run(graph, x)).items():
        if network.tensor(network.outputs[network.output_names.index(key)]).dtype is dtype.int32:
            assert (real[key] == expected).mean() > 0.8
        else:  # 8 bits and a few layers: some 25 dB; 15 dB is lost by a wrong scale only
            noise, power = np.square(real[key] - expected).mean(), np.square(expected).mean()
            assert noise < power * 10**-1.5, key


@pytest.mark.parametrize(
    "options",
    [
        {"fold_graph": False},
        {"fake_quantize": True},
        {"fake_quantize": True, "fold_graph": False},
        {"dequantize": True},
        {"rescale_inputs": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["residual", "concatenation", "tables", "signal"])
def test_every_form_of_the_graph_lowers_to_the_same_integers(name, options):
    plain = lower(quantized(name, single_shift=True))
    other = lower(quantized(name, single_shift=True, **options))
    assert [layer.kind for layer in other.layers] == [layer.kind for layer in plain.layers]
    x = feeds(CASES[name](), 5, 3)
    q = plain.quantize_input(x)
    assert np.array_equal(q, other.quantize_input(x))
    assert np.array_equal(plain.run(q), other.run(q))


def test_every_rule_is_lowered_by_a_case():
    seen = {
        node.type for name in CASES for node in quantized(name, single_shift=True).topological()
    }
    drawn = {node.type for name in CASES for node in CASES[name]().topological()}
    views = {"Squeeze", "Unsqueeze", "Identity"}  # bound like Flatten and Reshape
    by_recipe = {"SumPool"}  # made by aidge_quant.tuning; tests/tuning lowers it
    by_import = {"LookupTable"}  # made by from_qdq; tests/interchange lowers it
    assert set(RULES) - seen - drawn - views - by_recipe - by_import == set()


def test_what_the_architecture_check_accepts_is_lowered():
    merged = {"BatchNorm", "Split"}  # recipes put other nodes in their place
    for name, operator in registered().items():
        scaled = operator.traits & {Trait.AFFINE, Trait.MERGING, Trait.MOVES, Trait.SUMS}
        if scaled and operator not in WITHOUT_LAYER and name not in merged:
            assert name in RULES, name


def test_a_float_graph_is_refused_with_every_node():
    with pytest.raises(UnsupportedError, match="call quantize_network") as caught:
        lower(CASES["two_inputs_and_outputs"]())
    assert "left" in str(caught.value)
    assert "right" in str(caught.value)


def test_a_graph_without_rounding_is_refused():
    graph = quantized("chain", single_shift=True, no_quant=True)
    with pytest.raises(UnsupportedError, match="no_quant"):
        lower(graph)


def test_lowering_leaves_the_graph_as_it_was():
    graph = quantized("residual", single_shift=True)
    before = str(graph)
    lower(graph)
    assert str(graph) == before


def test_two_lowerings_have_one_digest():
    first, second = (lower(quantized("residual", single_shift=True)) for _ in range(2))
    assert first.digest == second.digest
