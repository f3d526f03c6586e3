"""Courses of the recipe: Adds in the accumulator, and caps by channel."""

import numpy as np
import pytest
from feeds import feeds, named
from float_networks import depthwise
from graph_cases import CASES

import aidge_quant as aq
from aidge_quant.integer.layers import Add, Affine
from aidge_quant.ops import Clip
from aidge_quant.tuning.equalization import equalize_channels
from aidge_quant.tuning.realize import quantized_graph
from aidge_quant.tuning.scheme import Scheme
from aidge_quant.tuning.skeleton import build_skeleton
from aidge_quant.tuning.statistics import grouped, observe


def lowered(graph, x, *, fuse, **choices):
    """Return the quantized graph of the simplest scheme, and its integer network."""
    aq.prepare_network(graph)
    skeleton = build_skeleton(graph, fuse=fuse)
    arrays = x if isinstance(x, dict) else {graph.inputs[0].name: x}
    spans = grouped(skeleton, observe(skeleton, arrays).extremes)
    result = quantized_graph(skeleton, Scheme(spans, **choices))
    return result, aq.lower(result)


def assert_graph_golden_and_c_agree(graph, network, x, folder):
    q = network.quantize_input(x)
    golden, executed = named(network.run(q)), named(aq.run(graph, x))
    for key, tensor in zip(network.output_names, network.outputs, strict=True):
        kept = golden[key].astype(np.int64) - network.tensor(tensor).zero_point
        assert np.array_equal(kept, executed[key]), key
    first = {name: a[:2] for name, a in q.items()} if isinstance(q, dict) else q[:2]
    aq.export_c(network, folder, name="net", test_inputs=first)
    check = aq.verify_c(folder, network, q)
    assert check.identical == check.total


@pytest.mark.parametrize("per_channel", [False, True], ids=["tensor", "channel"])
@pytest.mark.parametrize("zero_points", [False, True], ids=["symmetric", "zero_points"])
@pytest.mark.parametrize("name", ["residual", "residual_of_two_layers", "difference"])
def test_an_add_joins_the_layer_before_it(name, zero_points, per_channel, tmp_path):
    graph = CASES[name]()
    x = feeds(graph, 16, 1)
    choices = {"zero_points": zero_points, "per_channel": per_channel}
    result, network = lowered(graph, x, fuse=True, **choices)
    assert not any(isinstance(layer, Add) for layer in network.layers)
    with_residual = [a for a in network.layers if isinstance(a, Affine) and a.residual is not None]
    assert with_residual
    assert all(a.residual.size == a.requantization.shift.size for a in with_residual)
    assert_graph_golden_and_c_agree(result, network, feeds(CASES[name](), 6, 2), tmp_path / "c")


def test_a_tensor_that_others_read_keeps_its_own_rounding():
    graph = CASES["input_used_twice"]()
    plain = lowered(graph, feeds(graph, 16, 1), fuse=False)[1]
    assert all(a.residual is None for a in plain.layers if isinstance(a, Affine))


def test_equalized_relu6_ends_in_caps_by_channel(tmp_path):
    graph = depthwise(50)
    for name in ("relu1", "relu2"):
        graph.node(name).operator = Clip(0.0, 2.0)
    aq.prepare_network(graph)
    assert equalize_channels(graph, clip_arrays=True)
    x = 4 * feeds(graph, 16, 1)
    result, network = lowered(graph, x, fuse=True, zero_points=True, per_channel=False)
    steps = [layer.requantization for layer in network.layers if isinstance(layer, Affine)]
    assert sum(step.capped for step in steps) == 2
    assert_graph_golden_and_c_agree(result, network, x[:6], tmp_path / "c")
