"""Equalization of channel groups: the function stays, ranges get even, the rest is untouched."""

import dataclasses
from collections.abc import Callable

import float_networks
import graph_cases
import numpy as np
import pytest
from float_networks import Net, samples
from networks import NETWORKS as TRAINED

from aidge_quant.errors import DataError, GraphError, ShapeError
from aidge_quant.executor import evaluate, run
from aidge_quant.graph import Annotation, GraphView
from aidge_quant.onnx_io import load_onnx
from aidge_quant.ops import Add, Clip, Min, Pad, ReLU, Slice, producer
from aidge_quant.ptq import insert_scaling_nodes, prepare_network
from aidge_quant.ptq.channels import input_rows, output_rows, row_maxima
from aidge_quant.tuning.equalization import LIMIT, equalize_channels

#: Part of the largest output. A float32 sum of K terms errs by about sqrt(K) * 6e-8 of its size,
#: over at most 28 layers; the largest seen is 3e-6.
TOLERANCE = 2e-5


def runnable(graph: GraphView) -> GraphView:
    """Return a copy in which bounds a channel are nodes: min(max(x, 0), upper[c])."""
    copy = graph.clone()
    for node in copy.topological():
        if isinstance(node.operator, Clip) and np.ndim(node.operator.upper):
            assert node.operator.lower == 0
            upper = node.operator.upper.astype(np.float32).reshape(-1, 1, 1)
            caps = copy.add(producer(upper), (), f"{node.name}_caps")
            node.operator = ReLU()
            copy.insert_after(node, Min(), f"{node.name}_min", (caps,))
    return copy


def distance(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.abs(left - right).max() / np.abs(right).max())


def ranges(graph: GraphView, writer: str, reader: str) -> tuple[np.ndarray, np.ndarray]:
    first, second = graph.node(writer), graph.node(reader)
    return (
        row_maxima(output_rows(first, first.input(1).node.operator.value)),
        row_maxima(input_rows(second, second.input(1).node.operator.value)),
    )


def values(graph: GraphView) -> dict[str, np.ndarray]:
    return {n.name: n.operator.value.copy() for n in graph.nodes if n.type == "Producer"}


def unbalance(graph: GraphView, seed: int = 0) -> None:
    """Spread the rows of all weights over two decades."""
    random = np.random.default_rng(seed)
    for node in graph.nodes:
        if node.type in ("Conv", "FC"):
            rows = output_rows(node, node.input(1).node.operator.value)
            factors = 10 ** random.uniform(-1, 1, rows.shape[0])
            rows *= factors.reshape(-1, *(1,) * (rows.ndim - 1)).astype(np.float32)


def shortcut() -> GraphView:
    """A stream that the next stage reads sliced in space and padded in channels, as resnet20."""
    net = Net((2, 6, 6), 8)
    net.conv("stem", (2, 4))
    start = net.add(ReLU(), "relu0")
    net.conv("conv1", (4, 8), stride=2)
    net.add(ReLU(), "relu1")
    main = net.conv("conv2", (8, 8))
    net.add(Slice((0, 0), (6, 6), (2, 3), (2, 2)), "slice", start)
    short = net.add(Pad((0, 2, 0, 0), (0, 2, 0, 0)), "pad")
    net.add(Add(), "add", main, short)
    net.add(ReLU(), "relu2")
    net.conv("end", (8, 3), 1)
    return net.done()


SMALL: dict[str, Callable[[], GraphView]] = {
    **float_networks.NETWORKS,
    **{f"case_{name}": make for name, make in graph_cases.CASES.items()},
    "shortcut": shortcut,
}


@pytest.mark.parametrize("clip_arrays", [False, True])
@pytest.mark.parametrize("name", SMALL)
def test_equalization_keeps_the_outputs_of_every_small_network(name, clip_arrays):
    graph = SMALL[name]()
    prepare_network(graph)
    unbalance(graph)
    random = np.random.default_rng(0)
    feeds = {
        node.name: random.uniform(-1, 1, (1, *node.operator.shape[1:])).astype(np.float32)
        for node in graph.inputs
    }
    before = evaluate(graph, feeds)
    equalize_channels(graph, clip_arrays=clip_arrays)
    after = evaluate(runnable(graph), feeds)
    for key, expected in before.items():
        assert distance(after[key].astype(float), expected.astype(float)) < TOLERANCE


@pytest.mark.parametrize("clip_arrays", [False, True])
@pytest.mark.parametrize(
    "name", ["resnet8_cifar10", "resnet20_cifar10", "dscnn_kws", "mobilenetv1_025"]
)
def test_equalization_keeps_the_outputs_of_trained_networks(name, clip_arrays):
    graph = load_onnx(TRAINED[name].file())
    prepare_network(graph)
    x = TRAINED[name].samples().test[:4]
    before = run(graph, x)
    changed = equalize_channels(graph, clip_arrays=clip_arrays)
    every_group_passes_relu6 = name == "mobilenetv1_025"
    assert bool(changed) == (clip_arrays or not every_group_passes_relu6)
    assert distance(run(runnable(graph), x), before) < TOLERANCE


def test_the_comparison_of_outputs_sees_one_wrong_channel():
    graph = float_networks.chain()
    x = samples(graph)
    before = run(graph, x)
    equalize_channels(graph)
    graph.node("conv2_w").operator.value[:, 1] *= 1.01
    assert distance(run(graph, x), before) > TOLERANCE


@pytest.mark.parametrize(
    ("make", "pairs"),
    [
        (float_networks.chain, [("conv1", "conv2")]),
        (lambda: float_networks.depthwise(50), [("point1", "depth"), ("depth", "point2")]),
    ],
)
def test_ranges_of_a_chain_become_equal_up_to_a_common_factor(make, pairs):
    graph = make()
    equalize_channels(graph)
    for writer, reader in pairs:
        r1, r2 = ranges(graph, writer, reader)
        # t = sqrt(r1 / r2) is within 1e-3 of 1: the ratios are within 2e-3 of each other twice over
        assert (r1 / r2).max() / (r1 / r2).min() < 1 + 5e-3


def test_channels_of_a_residual_stream_share_one_factor():
    graph = float_networks.residual()
    unbalance(graph)
    factors = equalize_channels(graph)
    for name in ("conv2", "add1", "stem_relu", "relu2"):
        assert np.array_equal(factors[name], factors["stem"])
    assert not np.allclose(factors["stem"], 1)


def test_a_padded_shortcut_ties_the_channels_it_carries_and_no_others():
    graph = shortcut()
    unbalance(graph)
    factors = equalize_channels(graph)
    assert np.array_equal(factors["conv2"][2:6], factors["stem"])
    assert np.array_equal(factors["pad"][[0, 1, 6, 7]], np.ones(4))  # zeros have no factor
    assert not np.allclose(factors["conv2"][[0, 1, 6, 7]], 1)


def test_a_concat_carries_the_factors_of_its_parts():
    graph = float_networks.concat()
    unbalance(graph)
    factors = equalize_channels(graph)
    assert np.array_equal(factors["concat"], np.append(factors["wide"], factors["relu"]))


def test_bounds_of_relu6_follow_their_channels():
    graph = float_networks.depthwise(50)
    for name in ("relu1", "relu2"):
        graph.node(name).operator = Clip(0.0, 6.0)
    factors = equalize_channels(graph, clip_arrays=True)
    assert np.array_equal(graph.node("relu1").operator.upper, 6.0 / factors["point1"])
    assert equalize_channels(float_networks.relu6()) == {}


def test_equal_bounds_stay_one_number_and_a_second_call_changes_little():
    graph = float_networks.depthwise(50)
    graph.node("relu1").operator = Clip(0.0, 6.0)
    equalize_channels(graph, clip_arrays=True)
    again = equalize_channels(graph, clip_arrays=True)
    assert all(np.abs(factor - 1).max() < 5e-3 for factor in again.values())
    plain = float_networks.relu6()
    for name in ("conv0", "conv1"):  # channels that are equal already
        plain.node(f"{name}_w").operator.value[:] = 1
    plain.node("end_w").operator.value[:] = 1
    equalize_channels(plain, clip_arrays=True)
    assert plain.node("clip0").operator.upper == 6.0


@pytest.mark.parametrize("lower", [-1.0, 0.5])
def test_a_clip_with_another_lower_bound_keeps_its_channels(lower):
    graph = float_networks.chain()
    unbalance(graph)
    graph.node("relu1").operator = Clip(lower, np.inf)
    assert "conv1" not in equalize_channels(graph, clip_arrays=True)


def test_dead_channels_are_left_alone():
    graph = float_networks.chain()
    graph.node("conv1_w").operator.value[1] *= 1e-8
    graph.node("conv2_w").operator.value[:, 2] = 0
    before = values(graph)
    factors = equalize_channels(graph)
    assert np.array_equal(factors["conv1"][[1, 2]], [1, 1])
    for part in ("w", "b"):
        found = graph.node(f"conv1_{part}").operator.value
        assert np.array_equal(found[[1, 2]], before[f"conv1_{part}"][[1, 2]])


def test_factors_stay_within_the_limit():
    graph = float_networks.chain()
    graph.node("conv1_w").operator.value[1] *= 1e-5
    graph.node("conv2_w").operator.value[:, 1] *= 10
    factors = equalize_channels(graph)
    assert factors["conv1"].min() == 1 / LIMIT
    assert factors["conv1"].max() <= LIMIT


def test_functions_products_inputs_and_outputs_keep_their_channels():
    for name in ("functions", "product"):
        graph = float_networks.NETWORKS[name]()
        unbalance(graph)
        before = values(graph)
        factors = equalize_channels(graph)
        assert set(factors) <= {"conv1", "leaky"}  # between two Convs, through a LeakyReLU
        if name == "product":
            assert all(np.array_equal(v, before[k]) for k, v in values(graph).items())
    chain = float_networks.chain()
    assert "fc" not in equalize_channels(chain)


def test_a_shared_weight_is_left_alone():
    graph = float_networks.residual()
    unbalance(graph)
    graph.set_input(graph.node("conv2"), 1, graph.node("conv1_w"))
    before = graph.node("conv1_w").operator.value.copy()
    equalize_channels(graph)
    assert np.array_equal(graph.node("conv1_w").operator.value, before)


def test_a_layer_within_its_own_group_does_not_swap_its_weights_forever():
    net = Net((2, 4, 4), 9)
    start = net.conv("start", (2, 2), 1)
    inner = net.conv("inner", (2, 2), 1)
    net.add(Add(), "add", inner, start)
    net.conv("end", (2, 2), 1)
    graph = net.done()
    for name, weight in (("start", np.eye(2)), ("end", np.eye(2)), ("inner", [[0, 100], [1, 0]])):
        node = graph.node(f"{name}_w")
        value = np.asarray(weight, np.float32).reshape(2, 2, 1, 1)
        node.operator = dataclasses.replace(node.operator, value=value)
    equalize_channels(graph)
    weight = graph.node("inner_w").operator.value[:, :, 0, 0]
    assert weight[0, 1] == pytest.approx(weight[1, 0], rel=0.01)


def test_factors_turn_the_new_activations_into_the_old_ones():
    graph = float_networks.residual()
    unbalance(graph)
    x = samples(graph)
    old, new = {}, {}
    evaluate(graph, {"input": x}, observe=lambda node, out: old.update({node.name: out[0]}))
    factors = equalize_channels(graph)
    evaluate(graph, {"input": x}, observe=lambda node, out: new.update({node.name: out[0]}))
    for name, factor in factors.items():
        real = new[name] * factor.reshape(-1, *(1,) * (new[name].ndim - 2))
        assert distance(real, old[name]) < TOLERANCE
        assert np.array_equal(graph.node(name).annotations[Annotation.CHANNEL_FACTORS], factor)


def test_equal_networks_give_equal_bits():
    results = []
    for _ in range(2):
        graph = float_networks.residual()
        unbalance(graph)
        results.append((equalize_channels(graph), values(graph)))
    for one, two in zip(*results, strict=True):
        assert one.keys() == two.keys()
        assert all(np.array_equal(one[key], two[key]) for key in one)


# -- with activations ----------------------------------------------------------------------------


def test_activations_and_weights_are_balanced_as_the_formula_says():
    graph = float_networks.chain()
    sizes = np.array([0.5, 4, 1, 9.0])
    _, r2 = ranges(graph, "conv1", "conv2")
    x = samples(graph)
    before = run(graph, x)
    factors = equalize_channels(graph, activations={graph.node("relu1"): sizes}, alpha=0.7)
    expected = sizes**0.7 / r2.astype(float) ** 0.3
    expected /= np.exp(np.log(expected).mean())
    assert np.allclose(factors["conv1"], expected, rtol=1e-12)
    assert "conv2" not in factors  # no activation is known there
    assert distance(run(graph, x), before) < TOLERANCE


@pytest.mark.parametrize(
    ("array", "alpha", "error"),
    [
        (np.ones(3), 0.5, ShapeError),
        (np.array([1, 1, np.nan, 1]), 0.5, DataError),
        (np.array([1, 1, -1, 1]), 0.5, DataError),
        (np.ones(4), 1.5, DataError),
    ],
)
def test_bad_activations_are_refused_before_any_change(array, alpha, error):
    graph = float_networks.chain()
    before = values(graph)
    with pytest.raises(error):
        equalize_channels(graph, activations={graph.node("relu1"): array}, alpha=alpha)
    assert all(np.array_equal(v, before[k]) for k, v in values(graph).items())


def test_foreign_nodes_and_scaling_nodes_are_refused():
    graph = float_networks.chain()
    other = float_networks.chain().node("relu1")
    with pytest.raises(GraphError, match="relu1 is not a node"):
        equalize_channels(graph, activations={other: np.ones(4)})
    insert_scaling_nodes(graph)
    with pytest.raises(GraphError, match="before insert_scaling_nodes"):
        equalize_channels(graph)
