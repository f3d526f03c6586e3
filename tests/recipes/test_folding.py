import numpy as np
import pytest
from float_networks import Net, samples

from aidge_quant.executor import run
from aidge_quant.graph import GraphView
from aidge_quant.ops import (
    FC,
    Add,
    AveragePool,
    Conv,
    ConvTranspose,
    Div,
    Flatten,
    Mul,
    Pad,
    ReLU,
    Sub,
)
from aidge_quant.recipes import fold_batch_norm, fold_constant_arithmetic, fold_constants, fold_pad


def types(graph: GraphView) -> list[str]:
    return [node.type for node in graph.topological() if node.type != "Producer"]


def assert_same(graph: GraphView, recipe) -> None:
    x = samples(graph)
    before = run(graph, x)
    recipe(graph)
    graph.check()
    after = run(graph, x)
    assert np.abs(after - before).max() <= 1e-5 * np.abs(before).max()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
def test_batch_norm_folds_into_the_conv_before_it(bias, groups):
    net = Net((2, 4, 4))
    net.conv("conv", (2, 4), bias=bias, groups=groups)
    net.batch_norm("bn", 4)
    graph = net.done()
    assert_same(graph, fold_batch_norm)
    assert types(graph) == ["Input", "Conv"]


def test_batch_norm_folds_into_the_fully_connected_layer_before_it():
    net = Net((5,))
    net.fc("fc", (5, 4))
    net.batch_norm("bn", 4)
    graph = net.done()
    assert_same(graph, fold_batch_norm)
    assert types(graph) == ["Input", "FC"]


@pytest.mark.parametrize("groups", [1, 2])
def test_batch_norm_folds_into_the_transposed_conv_before_it(groups):
    net = Net((4, 3, 3))
    weight = net.constant(net.random.normal(0, 1, (4, 3, 2, 2)), "w")
    operator = ConvTranspose((2, 2), (1, 1), (0,) * 4, (0, 0), groups=groups)
    net.add(operator, "up", net.last, weight)
    net.batch_norm("bn", 3 * groups)
    graph = net.done()
    assert_same(graph, fold_batch_norm)
    assert types(graph) == ["Input", "ConvTranspose"]


def test_batch_norm_folds_into_the_conv_behind_it_when_nothing_is_padded():
    net = Net((4, 4, 4))
    net.batch_norm("bn", 4)
    net.conv("conv", (4, 6), groups=2, padding=0)
    graph = net.done()
    assert_same(graph, fold_batch_norm)
    assert types(graph) == ["Input", "Conv"]


def test_batch_norm_before_a_padded_conv_becomes_a_depthwise_conv():
    net = Net((3, 4, 4))
    net.batch_norm("bn", 3)
    net.conv("conv", (3, 4))
    graph = net.done()
    assert_same(graph, fold_batch_norm)
    assert types(graph) == ["Input", "Conv", "Conv"]
    assert graph.node("bn").operator.groups == 3


def test_batch_norm_behind_a_fork_leaves_the_other_reader_alone():
    net = Net((2, 4, 4))
    fork = net.conv("conv", (2, 3))
    net.batch_norm("bn", 3)
    net.add(Add(), "add", net.last, fork)
    graph = net.done()
    assert_same(graph, fold_batch_norm)


def test_shared_weights_are_not_changed_for_the_other_reader():
    net = Net((2, 4, 4))
    start = net.last
    first = net.conv("conv1", (2, 3))
    net.batch_norm("bn", 3)
    operator, inputs = first.operator, first.inputs
    second = net.graph.add(operator, (start, *inputs[1:]), "conv2")
    net.add(Add(), "add", net.graph.node("bn"), second)
    graph = net.done()
    assert_same(graph, fold_batch_norm)


@pytest.mark.parametrize("operator", [Add, Sub, Mul, Div])
@pytest.mark.parametrize("shape", [(), (3, 1, 1), (1, 3, 1, 1)])
def test_constant_arithmetic_folds_into_the_conv_before_it(operator, shape):
    net = Net((2, 4, 4))
    net.conv("conv", (2, 3))
    value = net.constant(net.random.uniform(0.5, 2, shape), "value")
    net.add(operator(), "arithmetic", net.last, value)
    graph = net.done()
    assert_same(graph, fold_constant_arithmetic)
    assert types(graph) == ["Input", "Conv"]


@pytest.mark.parametrize("operator", [Add, Sub, Mul])
def test_constant_may_be_the_first_operand(operator):
    net = Net((4,))
    net.fc("fc", (4, 3))
    value = net.constant([0.5, -1, 2], "value")
    net.add(operator(), "arithmetic", value, net.last)
    graph = net.done()
    assert_same(graph, fold_constant_arithmetic)
    assert types(graph) == ["Input", "FC"]


def test_normalization_of_the_input_folds_into_the_first_layer():
    net = Net((3, 4, 4))
    net.add(Sub(), "center", net.last, net.constant(np.full((3, 1, 1), 0.4), "mean"))
    net.add(Div(), "divide", net.last, net.constant(np.full((3, 1, 1), 0.2), "deviation"))
    net.conv("conv", (3, 4), padding=0)
    graph = net.done()
    assert_same(graph, fold_constant_arithmetic)
    assert types(graph) == ["Input", "Conv"]


def test_constant_that_differs_within_a_channel_stays():
    net = Net((2, 2, 2))
    net.add(Add(), "add", net.last, net.constant(np.arange(8).reshape(2, 2, 2), "image"))
    graph = net.done()
    fold_constant_arithmetic(graph)
    assert types(graph) == ["Input", "Add"]


def test_constants_are_computed_once():
    net = Net((3,))
    total = net.graph.add(Add(), (net.constant([1, 2, 3], "a"), net.constant([1], "b")), "sum")
    net.add(Add(), "add", net.last, total)
    graph = net.done()
    assert_same(graph, fold_constants)
    assert graph.node("sum").operator.value.tolist() == [2, 3, 4]


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_only_zeros_become_padding_of_a_conv(value):
    net = Net((2, 4, 4))
    net.add(Pad((0, 0, 1, 0), (0, 0, 0, 2), value), "pad")
    net.conv("conv", (2, 3), padding=1)
    graph = net.done()
    assert_same(graph, fold_pad)
    assert ("Pad" in types(graph)) == (value != 0)


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("padding", [0, 1])
def test_pad_folds_into_an_average_pool_only_where_exact(counts, padding):
    net = Net((2, 5, 5))
    net.add(Pad((0, 0, 1, 1), (0, 0, 1, 1)), "pad")
    pool = AveragePool((3, 3), (2, 2), (1, 1), (padding,) * 4, count_include_pad=counts)
    net.add(pool, "pool")
    graph = net.done()
    assert_same(graph, fold_pad)
    assert ("Pad" in types(graph)) == (not counts and padding > 0)


def test_the_output_of_a_folded_node_keeps_its_name():
    net = Net((2, 4, 4))
    net.conv("conv", (2, 3))
    net.batch_norm("bn", 3)
    graph = net.done()
    fold_batch_norm(graph)
    assert [output.name for output in graph.outputs] == ["output"]
    assert isinstance(graph.outputs[0].port.node.operator, Conv)


def test_batch_norm_behind_flatten_becomes_a_layer_of_its_own():
    net = Net((2, 2, 2))
    net.add(ReLU(), "relu")
    net.add(Flatten(), "flat")
    net.batch_norm("bn", 8)
    net.fc("fc", (8, 3))
    graph = net.done()
    assert_same(graph, fold_batch_norm)
    assert types(graph) == ["Input", "ReLU", "Flatten", "FC"]
    assert isinstance(graph.node("fc").operator, FC)
