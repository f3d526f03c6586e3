"""The figures of the per-layer analysis."""

import float_networks
import numpy as np
import pytest
from float_networks import Net, chain, residual, samples
from graph_cases import CASES
from quantized_pairs import change, quantized

from aidge_quant import Analysis, analyze, lower
from aidge_quant.errors import DataError, GraphError, ShapeError
from aidge_quant.graph import GraphView
from aidge_quant.ops import FC

OPTIONS = {
    "single shift": {},
    "by channel": {"channel_wise": True},
    "multipliers": {"single_shift": False},
    "unsigned": {"optimize_signs": True},
    "float input": {"rescale_inputs": True, "dequantize": True},
    "fake": {"fake_quantize": True, "fold_graph": False},
}


def batch(graph: GraphView, count: int = 40) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {node.name: node.operator.shape[1:] for node in graph.inputs}
    values = {name: rng.uniform(-1, 1, (count, *shape)) for name, shape in shapes.items()}
    return {name: array.astype(np.float32) for name, array in values.items()}


def row(analysis: Analysis, name: str):
    return next(row for row in analysis.rows if row.layer == name)


@pytest.mark.parametrize("name", [*float_networks.NETWORKS, *(f"case {name}" for name in CASES)])
def test_every_layer_of_a_good_network_is_close_to_its_float_node(name):
    # 8 bits give some 30 dB; a layer compared with another node, in another order of the axes, or
    # in the units of equalized channels would come out near 0.
    graph = (CASES[name[5:]] if name.startswith("case") else float_networks.NETWORKS[name])()
    x = batch(graph)
    analysis = analyze(graph, quantized(graph, x), x)
    assert analysis.rows
    assert min(row.alone_db for row in analysis.rows) > 25
    assert min(row.accumulated_db for row in analysis.rows) > 25


@pytest.mark.parametrize("options", OPTIONS)
def test_every_form_of_a_quantized_graph_is_analyzed(options):
    graph = residual()
    x = samples(graph)
    analysis = analyze(graph, quantized(graph, x, **OPTIONS[options]), x)
    assert min(row.accumulated_db for row in analysis.rows) > 25
    assert {"conv1", "add1", "gap", "fc"} <= {row.layer for row in analysis.rows}


def linear(weight, bias=None) -> GraphView:
    net = Net((len(weight[0]),))
    inputs = [net.last, net.constant(weight, "w")]
    inputs += [] if bias is None else [net.constant(bias, "b")]
    net.add(FC(), "fc", *inputs)
    return net.done()


def test_a_network_that_integers_represent_has_no_error():
    # Input and output have the unit 1 / 128, the weights are whole numbers of theirs.
    graph = linear([[0, 1], [1, 0]])
    x = np.random.default_rng(0).integers(-127, 128, (50, 2)).astype(np.float32) / 128
    x[0] = 127 / 128
    analysis = analyze(graph, quantized(graph, x, input_range=127 / 128), x)
    assert analysis.rows[0].alone_db == np.inf
    assert analysis.rows[0].accumulated_db == np.inf
    assert analysis.sqnr_db == np.inf
    assert analysis.agreement == 1


def test_error_alone_leaves_out_the_rounding_of_the_inputs():
    weight, bias = np.array([[0.9, -0.3], [0.2, 0.7]]), np.array([0.1, -0.2])
    graph = linear(weight, bias)
    x = np.random.default_rng(1).uniform(-1, 1, (60, 2)).astype(np.float32)
    network = lower(copy := quantized(graph, x))
    q = network.quantize_input(x)
    found = network.dequantize_output(network.run(q))
    tensor = network.tensor(network.inputs[0])
    rounded = tensor.scale * (q.astype(np.float64) - tensor.zero_point)

    def decibels(inputs):
        wanted = inputs @ weight.T + bias
        return 10 * np.log10((wanted**2).sum() / ((wanted - found) ** 2).sum())

    (measured,) = analyze(graph, copy, x, batch_size=7).rows
    # The float network computes in float32.
    assert measured.alone_db == pytest.approx(decibels(rounded), abs=1e-3)
    assert measured.accumulated_db == pytest.approx(decibels(x), abs=1e-3)
    assert measured.alone_db > measured.accumulated_db


@pytest.mark.parametrize("broken", ["conv1", "conv2", "fc"])
def test_a_layer_with_wrong_weights_ranks_first(broken):
    graph = chain()
    x = samples(graph, 64)
    copy = quantized(graph, x)
    change(copy, f"{broken}_w", lambda value: value // 2)
    analysis = analyze(graph, copy, x)
    assert analysis.rows[0].layer == broken
    assert analysis.rows[0].alone_db < 10
    assert all(row.alone_db > 25 for row in analysis.rows[1:])
    assert analysis.sqnr_db < 20


def test_accumulated_error_is_that_of_the_outputs():
    graph = chain()
    x = samples(graph, 64)
    analysis = analyze(graph, quantized(graph, x), x)
    assert analysis.sqnr_db == pytest.approx(row(analysis, "fc").accumulated_db)


def test_results_do_not_depend_on_the_size_of_the_batches():
    graph = residual()
    x = samples(graph, 20)
    copy = quantized(graph, x)
    whole, parts = (analyze(graph, copy, x, batch_size=size) for size in (20, 3))
    assert [row.layer for row in whole.rows] == [row.layer for row in parts.rows]
    for one, other in zip(whole.rows, parts.rows, strict=True):
        assert one.saturation == other.saturation
        assert one.unused == other.unused
        # Sums of squares in another order, float32 products in other blocks.
        assert one.alone_db == pytest.approx(other.alone_db, abs=1e-3)


def test_both_graphs_stay_as_they_are():
    graph = chain()
    x = samples(graph)
    copy = quantized(graph, x)
    before = str(graph), str(copy)
    analyze(graph, copy, x)
    assert (str(graph), str(copy)) == before


def test_unused_range_is_what_the_integers_never_reach():
    graph = linear([[1.0]])
    x = np.linspace(-1, 1, 65, dtype=np.float32)[:, None]
    copy = quantized(graph, x)
    (full,) = analyze(graph, copy, x).rows
    (half,) = analyze(graph, copy, np.abs(x)).rows
    assert full.unused == pytest.approx(1 / 255)  # -127 to 127 of -128 to 127
    assert half.unused == pytest.approx(1 - 127 / 255)
    assert half.unused_bits == pytest.approx(1)


def test_saturation_counts_what_lies_beyond_the_bounds():
    graph = linear([[1.0]])
    copy = quantized(graph, np.array([[0.5], [-0.5]], np.float32), input_range=1.0)
    x = np.array([[0.9], [0.3], [-0.9], [-0.2], [0.5]], np.float32)
    (measured,) = analyze(graph, copy, x).rows
    assert measured.saturation == pytest.approx(2 / 5)


def test_the_zero_of_a_relu_is_no_saturation():
    graph = chain()
    x = samples(graph, 64)
    analysis = analyze(graph, quantized(graph, x), x)
    assert row(analysis, "conv1").saturation == 0


def test_an_integer_network_without_equalization_gives_the_same_rows():
    graph = residual()
    x = samples(graph)
    copy = quantized(graph, x, equalize=False)
    from_graph, from_network = analyze(graph, copy, x), analyze(graph, lower(copy), x)
    assert from_graph.rows == from_network.rows
    assert from_graph.warnings == ()
    assert "pass the quantized graph" in from_network.warnings[0]


def test_equalization_matters_to_the_comparison():
    graph = float_networks.depthwise(imbalance=50)
    x = samples(graph)
    copy = quantized(graph, x)
    with_factors, without = (analyze(graph, found, x) for found in (copy, lower(copy)))
    assert row(with_factors, "point1").accumulated_db > 25
    assert row(without, "point1").accumulated_db < 5
    assert with_factors.sqnr_db == without.sqnr_db


def test_a_network_of_another_graph_is_refused():
    graph = chain()
    x = samples(graph)
    other = chain()
    for node in list(other.nodes):
        if node.type != "Input":
            other.rename(node, f"other_{node.name}")
    with pytest.raises(GraphError, match="pass the float graph that was quantized"):
        analyze(graph, quantized(other, x), x)


def test_bad_samples_are_refused():
    graph = chain()
    x = samples(graph)
    copy = quantized(graph, x)
    with pytest.raises(DataError, match="batch_size"):
        analyze(graph, copy, x, batch_size=0)
    with pytest.raises(ShapeError, match="input"):
        analyze(graph, copy, x[:, :1])
    x[3] = np.nan
    with pytest.raises(DataError, match="NaN"):
        analyze(graph, copy, x)
