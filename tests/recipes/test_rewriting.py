import logging

import numpy as np
import pytest
from float_networks import Net, samples

from aidge_quant.executor import run
from aidge_quant.graph import GraphView, Port
from aidge_quant.ops import (
    Add,
    ArgMax,
    Clip,
    Div,
    Flatten,
    Gemm,
    GlobalMaxPool,
    HardSigmoid,
    Identity,
    MatMul,
    Max,
    Min,
    Mul,
    Pad,
    ReduceMax,
    ReduceMean,
    Reshape,
    Sigmoid,
    Slice,
    Softmax,
    Split,
    Squeeze,
    Transpose,
    Unsqueeze,
)
from aidge_quant.recipes import (
    constant_bounds,
    join_gates,
    matmul_to_fc,
    reductions_to_pools,
    remove_identities,
    remove_trailing_softmax,
    simplify_reshapes,
    split_to_slices,
    unshare_parameters,
)


def types(graph: GraphView) -> list[str]:
    return [node.type for node in graph.topological() if node.type != "Producer"]


def assert_same(graph: GraphView, recipe) -> None:
    x = 4 * samples(graph)
    before = run(graph, x)
    recipe(graph)
    graph.check()
    after = run(graph, x)
    assert after.shape == before.shape
    assert np.abs(after - before).max() <= 1e-5 * np.abs(before).max()


@pytest.mark.parametrize(
    "operator",
    [
        Identity(),
        Clip(),
        Pad((0,) * 4, (0,) * 4),
        Transpose((0, 1, 2, 3)),
        Slice((0,), (99,), (1,), (1,)),
        Reshape((0, 2, 3, 3)),
    ],
    ids=lambda operator: operator.type,
)
def test_nodes_that_change_nothing_are_removed(operator):
    net = Net((2, 3, 3))
    net.add(operator, "nothing")
    net.conv("conv", (2, 2))
    graph = net.done()
    assert_same(graph, remove_identities)
    assert types(graph) == ["Input", "Conv"]


def test_a_reversing_slice_stays():
    net = Net((2, 3, 3))
    net.add(Slice((-1,), (-99,), (1,), (-1,)), "reverse")
    graph = net.done()
    assert_same(graph, remove_identities)
    assert "Slice" in types(graph)


def test_split_becomes_slices():
    net = Net((5, 2, 2))
    split = net.add(Split(1, (2, 3)), "split")
    graph = net.graph
    first = graph.add(Identity(), (Port(split, 0),), "first")
    graph.add_output(Port(split, 1), "output")
    graph.add_output(first, "other")
    x = samples(graph)
    split_to_slices(graph)
    graph.check()
    found = run(graph, x)
    assert np.array_equal(found["output"], x[:, 2:])
    assert np.array_equal(found["other"], x[:, :2])


def test_products_with_constants_become_fully_connected_layers():
    net = Net((4,))
    net.add(MatMul(), "matmul", net.last, net.constant(net.random.normal(0, 1, (4, 5)), "m"))
    bias = net.constant(net.random.normal(0, 1, (1, 3)), "c")
    matrix = net.constant(net.random.normal(0, 1, (3, 5)), "b")
    net.add(Gemm(0.5, 2.0, transpose_b=True), "gemm", net.last, matrix, bias)
    graph = net.done()
    assert_same(graph, matmul_to_fc)
    assert types(graph) == ["Input", "FC", "FC"]


@pytest.mark.parametrize(
    ("operator", "pool"),
    [
        (ReduceMean((2, 3)), "GlobalAveragePool"),
        (ReduceMean((2, 3), False), "GlobalAveragePool"),
        (ReduceMean((3,), False), "AveragePool"),
        (ReduceMax((2,)), "MaxPool"),
        (GlobalMaxPool(), "MaxPool"),
    ],
)
def test_reductions_over_positions_become_pools(operator, pool):
    net = Net((2, 3, 4))
    net.add(operator, "reduce")
    graph = net.done()
    assert_same(graph, reductions_to_pools)
    assert graph.node("reduce").type == pool


def test_a_mean_over_channels_stays():
    net = Net((2, 3, 4))
    net.add(ReduceMean((1,)), "mean")
    graph = net.done()
    reductions_to_pools(graph)
    assert graph.node("mean").type == "ReduceMean"


def test_ways_to_flatten_become_one_flatten():
    net = Net((2, 3, 1))
    net.add(Squeeze((3,)), "squeeze")
    net.add(Unsqueeze((1,)), "unsqueeze")
    net.add(Reshape((0, -1)), "reshape")
    graph = net.done()
    assert_same(graph, simplify_reshapes)
    assert types(graph) == ["Input", "Flatten"]


def test_reshape_that_moves_values_between_samples_stays():
    net = Net((2, 4))
    net.add(Reshape((-1, 4)), "merge")
    net.add(Flatten(), "flat")
    graph = net.done()
    x = samples(graph, 3)
    expected = run(graph, x)
    simplify_reshapes(graph)
    assert np.array_equal(run(graph, x), expected)


def gate(name: str) -> GraphView:
    net = Net((2, 3, 3))
    x = net.last
    if name in ("swish", "gate"):
        operator = Sigmoid() if name == "swish" else HardSigmoid(1 / 6, 0.5)
        net.add(Mul(), "product", x, net.add(operator, "inner", x))
        return net.done()
    net.add(Add(), "shift", x, net.constant(3.0, "three"))
    clipped = net.add(Clip(0.0, 6.0), "clip")
    if name == "product first":
        net.add(Mul(), "product", x, clipped)
        net.add(Div(), "sixth", net.last, net.constant(6.0, "six"))
        return net.done()
    sixth = net.add(Mul(), "sixth", clipped, net.constant(1 / 6, "factor"))
    if name == "gate first":
        net.add(Mul(), "product", x, sixth)
    return net.done()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("swish", "Swish"),
        ("gate", "HardSwish"),
        ("product first", "HardSwish"),
        ("gate first", "HardSwish"),
        ("alone", "HardSigmoid"),
    ],
)
def test_ways_to_spell_a_gate_become_one_function(name, expected):
    graph = gate(name)
    assert_same(graph, join_gates)
    assert types(graph) == ["Input", expected]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([(Max(), 0.0)], "ReLU"),
        ([(Max(), 0.0), (Min(), 6.0)], "Clip"),
        ([(Min(), -1.0), (Max(), 1.0)], "Clip"),
    ],
)
def test_bounds_become_one_clip(steps, expected):
    net = Net((2, 3, 3))
    for i, (operator, bound) in enumerate(steps):
        net.add(operator, f"bound{i}", net.last, net.constant(bound, f"value{i}"))
    graph = net.done()
    assert_same(graph, constant_bounds)
    assert types(graph) == ["Input", expected]


def test_trailing_softmax_is_removed_with_a_notice(caplog):
    net = Net((4,))
    net.fc("fc", (4, 3))
    net.add(Softmax(1), "softmax")
    graph = net.done()
    expected = run(graph, samples(graph)).argmax(axis=1)
    with caplog.at_level(logging.INFO, "aidge_quant"):
        remove_trailing_softmax(graph)
    assert "softmax" in caplog.text
    assert types(graph) == ["Input", "FC"]
    assert np.array_equal(run(graph, samples(graph)).argmax(axis=1), expected)


def test_softmax_before_an_argmax_is_removed_and_the_argmax_stays():
    net = Net((4,))
    net.add(Softmax(1), "softmax")
    net.add(ArgMax(1), "argmax")
    graph = net.done()
    remove_trailing_softmax(graph)
    assert types(graph) == ["Input", "ArgMax"]


def test_softmax_inside_the_network_stays():
    net = Net((4,))
    net.add(Softmax(1), "softmax")
    net.fc("fc", (4, 3))
    graph = net.done()
    remove_trailing_softmax(graph)
    assert "Softmax" in types(graph)


def test_each_layer_gets_parameters_of_its_own():
    net = Net((4,))
    first = net.fc("fc1", (4, 4))
    second = net.add(first.operator, "fc2", first, *(port.node for port in first.inputs[1:]))
    graph = net.done()
    assert_same(graph, unshare_parameters)
    assert first.input(1) != second.input(1)
    assert np.array_equal(first.input(1).node.operator.value, second.input(1).node.operator.value)
