"""SAT from a float network to integers."""

import numpy as np
import pytest
import trained_networks as nets
from trained_integers import check_integers

import aidge_quant as aq
from aidge_quant import lsq, recipes, sat
from aidge_quant.dtypes import dtype
from aidge_quant.errors import DataError, GraphError
from aidge_quant.executor import run
from aidge_quant.ops import CGPACT, LSQ, DoReFa, DoReFaMode, FixedQ, Quantizer, ScaleAdjust
from aidge_quant.training import SGD, fit

#: How much of an output step the rounding of a bias may be: 1/64, or more where the weights of a
#: depthwise layer would leave int8 if they were finer.
BIAS_ERROR = 1 / 32

X, Y = nets.samples(120)
NETS = {
    "chain": nets.chain,
    "residual": nets.residual,
    "concat": nets.concat,
    "linear": nets.linear_bottleneck,
}


def trained(name, bits=4, mode=DoReFaMode.Default, epochs=2, use_batchnorms=True):
    graph = NETS[name]()
    sat.insert_sat_nodes(graph, use_batchnorms)
    options = {"batch_size": 20, "optimizer": SGD(0.05)}
    fit(graph, (X, Y), epochs=epochs, **options)
    sat.insert_param_quantizers(graph, bits, mode)
    sat.insert_activ_quantizers(graph, bits, input_range=4.0, calibration=X)
    fit(graph, (X, Y), epochs=epochs, **options)
    return graph


def agreement(real, fake):
    """Return how often the largest output is the same, where it is clearly the largest."""
    ranked = np.sort(fake, axis=1)
    clear = ranked[:, -1] - ranked[:, -2] > 0.1 * np.abs(fake).max()
    return (real.argmax(axis=1) == fake.argmax(axis=1))[clear].mean()


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("mode", DoReFaMode)
def test_integer_network_computes_what_was_trained(name, mode):
    graph = trained(name, 4, mode)
    fake = run(graph, X)
    assert fake.dtype == np.float32
    exact, floats = graph.clone(), graph.clone()
    sat.post_training_transform(exact, True)
    sat.post_training_transform(floats, False)
    network = aq.lower(exact)
    out = network.run(network.quantize_input(X))
    np.testing.assert_array_equal(run(exact, X), out)
    np.testing.assert_array_equal(run(floats, X), out)
    real = network.dequantize_output(out)
    assert np.abs(real - fake).mean() < 0.02 * np.abs(fake).max()  # biases are rounded
    assert agreement(real, fake) == 1
    check_integers(graph, exact, X, bias_error=BIAS_ERROR)
    weights = {n.operator.element_type for n in exact.nodes if n.name.endswith("_w_int")}
    assert weights <= {dtype.int4, dtype.int8}
    if mode is DoReFaMode.Symmetric:
        assert dtype.int4 in weights
    assert not any(isinstance(n.operator, DoReFa | CGPACT | ScaleAdjust) for n in exact.nodes)


def test_nodes_are_where_the_page_says():
    graph = nets.chain()
    sat.insert_sat_nodes(graph, True)
    assert types_on(graph, "conv") == ["TanhClamp"]
    assert types_on(graph, "inner") == ["ScaleAdjust", "TanhClamp"]
    assert types_on(graph, "fc") == ["ScaleAdjust", "TanhClamp"]
    sat.insert_param_quantizers(graph, 4, first_bits=8)
    assert types_on(graph, "conv") == ["DoReFa", "TanhClamp"]
    assert types_on(graph, "inner") == ["ScaleAdjust", "DoReFa", "TanhClamp"]
    levels = {n.name: n.operator.range for n in graph.nodes if isinstance(n.operator, DoReFa)}
    assert sorted(levels.values()) == [15, 15, 255]
    sat.insert_activ_quantizers(graph, 4, 2.5)
    assert [o.name for o in graph.outputs] == ["output"]
    kinds = {n.name: n.operator for n in graph.nodes if isinstance(n.operator, CGPACT | FixedQ)}
    assert {name: op.type for name, op in kinds.items()} == {
        "conv_fixed": "FixedQ",
        "inner_i_cgpact": "CGPACT",
        "fc_i_cgpact": "CGPACT",
    }
    assert graph.node("inner_i_cgpact").input(1).node.operator.value == 2.5
    assert graph.node("inner_i_cgpact").operator.range == 15
    everywhere = nets.chain()
    sat.insert_sat_nodes(everywhere, False)
    assert types_on(everywhere, "conv") == ["ScaleAdjust", "TanhClamp"]


def types_on(graph, layer):
    found, node = [], graph.node(layer).input(1).node
    while node.inputs:
        found.append(node.type)
        node = node.input(0).node
    return found


def test_tensors_that_may_be_negative_get_another_quantizer():
    graph = nets.linear_bottleneck()
    sat.insert_sat_nodes(graph, True)
    with pytest.raises(DataError, match="reaches .* in the calibration, input_range is 1"):
        sat.insert_activ_quantizers(graph, 4, calibration=X)
    with pytest.raises(DataError, match="negative values in the calibration"):
        sat.insert_activ_quantizers(graph, 4, input_range=4, signed_input=False, calibration=X)
    sat.insert_activ_quantizers(graph, 4, input_range=4, calibration=X)
    signed = {n.name: n.operator.range for n in graph.nodes if isinstance(n.operator, LSQ)}
    assert (-128, 127) in signed.values()
    bounds = [n.input(1).node.operator.value for n in graph.nodes if isinstance(n.operator, CGPACT)]
    assert all(value > 0 and value != 1 for value in bounds)


def test_c_equals_the_golden_model(tmp_path):
    graph = trained("residual", 4, DoReFaMode.Symmetric)
    sat.post_training_transform(graph, True)
    network = aq.lower(graph)
    q = network.quantize_input(X)
    aq.export_c(network, tmp_path / "net", name="net", test_inputs=q[:4])
    check = aq.verify_c(tmp_path / "net", network, q)
    assert check.identical == check.total


def test_training_learns():
    graph = trained("residual", 4, epochs=6)
    assert (run(graph, X).argmax(axis=1) == Y).mean() > 0.85


def test_fixed_point_formats_become_shifts():
    graph = nets.chain()
    recipes.fold_batch_norm(graph)
    for layer, unsigned in (("conv", False), ("inner", True), ("fc", True)):
        data = FixedQ(8, 4.0, unsigned)
        graph.insert_before(graph.node(layer), 0, data, f"{layer}_data")
        graph.insert_before(graph.node(layer), 1, FixedQ(8, 2.0), f"{layer}_weight")
    fit(graph, (X, Y), epochs=2, optimizer=SGD(0.02))
    fake = run(graph, X)
    exact = graph.clone()
    sat.post_training_transform(exact, True)
    quantizers = [n for n in exact.nodes if isinstance(n.operator, Quantizer)]
    assert sum(n.operator.shift is None for n in quantizers) == 1  # that of the input
    network = aq.lower(exact)
    real = network.dequantize_output(network.run(network.quantize_input(X)))
    assert np.abs(real - fake).max() < 0.05 * np.abs(fake).max()  # biases are rounded
    check_integers(graph, exact, X, bias_error=BIAS_ERROR)


def test_wrong_orders_are_refused():
    graph = nets.chain()
    before = str(graph)
    with pytest.raises(GraphError, match="has no TanhClamp; call insert_sat_nodes first"):
        sat.insert_param_quantizers(graph, 4)
    with pytest.raises(DataError, match="init_alpha is 0"):
        sat.insert_activ_quantizers(graph, 4, 0)
    for name in ("joined_bits", "input_bits"):
        for count in (1, 9, 4.5):
            with pytest.raises(DataError, match=f"{name}: {count}, expected"):
                sat.insert_activ_quantizers(graph, 4, **{name: count})
    with pytest.raises(DataError, match="input_range is nan"):
        sat.insert_activ_quantizers(graph, 4, input_range=np.nan)
    with pytest.raises(DataError, match="of the calibration are NaN or infinite"):
        sat.insert_activ_quantizers(graph, 4, calibration=np.full_like(X, np.nan))
    assert str(graph) == before
    sat.insert_sat_nodes(graph, False)
    with pytest.raises(GraphError, match="already"):
        sat.insert_param_clamping(graph)
    with pytest.raises(GraphError, match="has a ScaleAdjust already"):
        sat.insert_param_scaling_adjust(graph, False)
    sat.insert_param_quantizers(graph, 4)
    with pytest.raises(GraphError, match="has a DoReFa already"):
        sat.insert_param_quantizers(graph, 4)


def test_weights_that_are_quantized_are_refused():
    graph = nets.chain()
    sat.insert_param_clamping(graph)
    sat.insert_param_quantizers(graph, 4)
    lsq_graph, done = nets.chain(), trained("chain")
    lsq.setup_quantizers(lsq_graph, 4, calibration=X)
    sat.post_training_transform(done, False)
    for quantized, message in (
        (graph, r"conv: its weight is quantized already, by conv_w_dorefa \(DoReFa\)"),
        (lsq_graph, r"conv: its weight is quantized already, by conv_lsq_p \(LSQ\)"),
        (done, "conv: its weight conv_w_int holds constants"),
    ):
        before = str(quantized)
        with pytest.raises(GraphError, match=message):
            sat.insert_param_scaling_adjust(quantized, False)
        assert str(quantized) == before
    before = str(lsq_graph)
    with pytest.raises(GraphError):
        sat.insert_sat_nodes(lsq_graph, True)
    assert str(lsq_graph) == before


def test_a_clip_behind_a_fork_computes_what_was_trained():
    graph = nets.fork(0.7, 2.9)
    sat.insert_sat_nodes(graph, True)
    sat.insert_param_quantizers(graph, 4)
    sat.insert_activ_quantizers(graph, 4, input_range=4.0, calibration=X)
    fit(graph, (X, Y), epochs=1, batch_size=20, optimizer=SGD(0.02))
    sat.freeze_batch_norms(graph)
    exact = graph.clone()
    sat.post_training_transform(exact, True)
    check_integers(graph, exact, X)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("use_batchnorms", [False, True])
def test_frozen_batch_norms_lose_nothing_at_the_end(name, use_batchnorms):
    graph = trained(name, use_batchnorms=use_batchnorms)
    sat.freeze_batch_norms(graph)
    fake, exact = run(graph, X), graph.clone()
    sat.post_training_transform(exact, True)
    network = aq.lower(exact)
    out = network.run(network.quantize_input(X))
    np.testing.assert_array_equal(run(exact, X), out)
    others, total = check_integers(graph, exact, X)
    assert others < 1e-3 * total
    assert agreement(network.dequantize_output(out), fake) == 1
