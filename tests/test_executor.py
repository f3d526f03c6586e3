"""The float executor: inputs, outputs, batches, errors."""

import numpy as np
import pytest

from aidge_quant import ops
from aidge_quant.dtypes import dtype
from aidge_quant.errors import DataError, DtypeError, GraphError, ShapeError
from aidge_quant.executor import evaluate, infer_shapes, run
from aidge_quant.graph import GraphView, Port


def graph_of(*operators, shape=(1, 4), element_type=dtype.float32):
    """Return a chain of operators behind one input x."""
    graph = GraphView("net")
    node = graph.add_input(ops.Input(shape, element_type), "x")
    for operator in operators:
        node = graph.add(operator, [node])
    graph.add_output(node, "y")
    return graph


def two_ends():
    """Return a graph of two inputs and two outputs that come from one node."""
    graph = GraphView("net")
    a = graph.add_input(ops.Input((1, 4)), "a")
    b = graph.add_input(ops.Input((1, 4)), "b")
    added = graph.add(ops.Add(), [a, b], "sum")
    parts = graph.add(ops.Split(1, (1, 3)), [added], "parts")
    graph.add_output(Port(parts, 1), "large")
    graph.add_output(Port(parts, 0), "small")
    return graph


X = np.arange(40, dtype=np.float32).reshape(10, 4)


def test_several_inputs_and_outputs_are_dictionaries():
    found = run(two_ends(), {"a": X, "b": X + 1}, batch_size=3)
    assert list(found) == ["large", "small"]
    np.testing.assert_array_equal(found["large"], (2 * X + 1)[:, 1:])
    np.testing.assert_array_equal(found["small"], (2 * X + 1)[:, :1])


def test_a_single_input_and_output_are_arrays():
    np.testing.assert_array_equal(run(graph_of(ops.ReLU()), X - 20), np.maximum(X - 20, 0))


@pytest.mark.parametrize(
    "operator",
    [
        ops.Softmax(0),
        ops.Softmax(-2),
        ops.ReduceMean((0,)),
        ops.Transpose((1, 0)),
        ops.Flatten(0),
        ops.ArgMax(0),
        ops.Slice((1,), (7,), (0,), (1,)),
    ],
    ids=lambda operator: operator.type,
)
def test_a_graph_that_computes_across_the_batch_is_run_in_one_piece(operator):
    np.testing.assert_array_equal(run(graph_of(operator), X, batch_size=3), operator.forward(X))


def test_a_batch_is_divided_where_samples_are_independent():
    sizes = []
    graph = graph_of(ops.Reshape((0, 2, 2)), ops.Softmax(2), ops.Flatten(1), ops.ReLU())

    class Watched(ops.ReLU):
        def forward(self, *arrays):
            sizes.append(len(arrays[0]))
            return super().forward(*arrays)

    graph.node("ReLU").operator = Watched()
    run(graph, X, batch_size=4)
    assert sizes == [4, 4, 2]


def test_integers_stay_integers():
    x = np.array([[-128, 127, 0, 5]], np.int8)
    found = run(graph_of(ops.ReLU(), element_type=dtype.int8), x)
    assert found.dtype == np.int8
    with pytest.raises(DataError, match="quantize it first"):
        run(graph_of(ops.ReLU(), element_type=dtype.int8), X + 0.5)


def test_values_are_dropped_after_their_last_use_and_observed_in_order():
    seen = []
    graph = graph_of(ops.ReLU(), ops.Neg())
    evaluate(graph, {"x": X}, observe=lambda node, arrays: seen.append((node.name, len(arrays))))
    assert seen == [("x", 1), ("ReLU", 1), ("Neg", 1)]


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (X[:, :3], ShapeError, r"x has shape \(10, 3\), expected \('batch', 4\)"),
        (X[0], ShapeError, "x has shape"),
        (np.float32(1), ShapeError, "x has shape"),
        (X[:0], DataError, "is empty"),
        ({"z": X}, ShapeError, r"has inputs \['x'\], got \['z'\]"),
        ({}, ShapeError, "has inputs"),
        (np.array([["a", "b", "c", "d"]]), DtypeError, "expected numbers"),
        (X + 1j, DtypeError, "expected numbers"),
    ],
)
def test_wrong_inputs_are_refused(x, error, message):
    with pytest.raises(error, match=message):
        run(graph_of(ops.ReLU()), x)


def test_other_wrong_arguments_are_refused():
    with pytest.raises(ShapeError, match="pass a dictionary"):
        run(two_ends(), X)
    with pytest.raises(ShapeError, match="batches of different sizes"):
        run(two_ends(), {"a": X, "b": X[:2]})
    with pytest.raises(DataError, match="batch_size is 0"):
        run(graph_of(ops.ReLU()), X, batch_size=0)
    with pytest.raises(ShapeError, match="x is missing"):
        evaluate(graph_of(ops.ReLU()), {})


def test_an_error_names_the_node():
    with pytest.raises(ShapeError, match=r"Reshape \(Reshape\): data \(1, 4\)"):
        infer_shapes(graph_of(ops.Reshape((0, 3))))
    with pytest.raises(ShapeError, match=r"Reshape \(Reshape\): data \(10, 4\)"):
        run(graph_of(ops.Reshape((0, 3))), X)
    broken = graph_of(ops.ReLU())
    broken.set_inputs(broken.node("ReLU"), [None])
    with pytest.raises(GraphError, match=r"ReLU \(ReLU\): input 0 is missing"):
        run(broken, X)


def test_the_batch_of_inferred_shapes_can_be_given():
    graph = graph_of(ops.ReLU())
    assert infer_shapes(graph)[graph.node("ReLU")] == ((1, 4),)
    assert infer_shapes(graph, batch=5)[graph.node("ReLU")] == ((5, 4),)
