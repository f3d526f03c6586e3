import logging

import numpy as np
import pytest
from float_networks import NETWORKS, Net, chain, depthwise, residual, samples

from aidge_quant.dtypes import dtype
from aidge_quant.errors import (
    AidgeQuantError,
    DataError,
    DtypeError,
    GraphError,
    ShapeError,
    UnsupportedError,
)
from aidge_quant.executor import run
from aidge_quant.graph import Annotation, GraphView
from aidge_quant.ops import MatMul, Quantizer, ReLU, Softmax
from aidge_quant.ptq import Clipping, auto_assign_node_precision, prepare_network, quantize_network
from aidge_quant.ptq.flow import source
from aidge_quant.tensor import Tensor

SCALE = Annotation.SCALE

#: Options, each with the SQNR in dB that every small network reaches with it.
OPTIONS = {
    "plain": ({}, 30),
    "single shift": ({"single_shift": True}, 28),
    "channels": ({"channel_wise": True}, 30),
    "channels, single shift": ({"channel_wise": True, "single_shift": True}, 28),
    "signs": ({"optimize_signs": True}, 30),
    "signs, single shift": ({"optimize_signs": True, "single_shift": True}, 28),
    "no equalization": ({"equalize": False}, 28),
    "fake": ({"fake_quantize": True}, 30),
    "not folded": ({"fold_graph": False, "single_shift": True}, 28),
    "MSE": ({"clipping_mode": Clipping.MSE}, 25),
    "AA": ({"clipping_mode": Clipping.AA}, 20),
    "KL": ({"clipping_mode": Clipping.KL}, 10),
    "SIGMA5": ({"clipping_mode": Clipping.SIGMA5}, 20),
}


def quantized(graph: GraphView, x: np.ndarray, weight: dtype = dtype.int8, **options) -> GraphView:
    result = graph.clone()
    auto_assign_node_precision(result, dtype.int8, weight, dtype.int32)
    quantize_network(result, x, **options)
    return result


def real_output(graph: GraphView, x: np.ndarray) -> np.ndarray:
    unit = graph.inputs[0].annotations[SCALE]
    integers = np.clip(np.floor(x / np.float32(unit) + np.float32(0.5)), -128, 127)
    return run(graph, integers) * source(graph.outputs[0].port).annotations[SCALE]


def sqnr(reference: np.ndarray, found: np.ndarray) -> float:
    noise = np.sum((reference.astype(np.float64) - found) ** 2)
    return float(10 * np.log10(np.sum(reference.astype(np.float64) ** 2) / noise))


def reference(graph: GraphView, x: np.ndarray) -> np.ndarray:
    prepared = graph.clone()
    prepare_network(prepared)
    return run(prepared, x)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_integers_stay_close_to_the_float_network(name, option):
    graph = NETWORKS[name]()
    x = samples(graph, 32)
    options, least = OPTIONS[option]
    found = real_output(quantized(graph, x, **options), x)
    assert sqnr(reference(graph, x), found) > least


@pytest.mark.parametrize("name", ["chain", "concat"])
def test_integer_graph_equals_the_fake_graph(name):
    graph = NETWORKS[name]()  # small sums, which float32 holds exactly, and no mean
    x = samples(graph, 8)
    fake = quantized(graph, x, single_shift=True, fake_quantize=True)
    true = quantized(graph, x, single_shift=True)
    integers = np.floor(127 * x + np.float32(0.5))
    assert np.array_equal(run(fake, integers), run(true, integers))


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_quantized_graph_holds_the_declared_types(name, fold):
    graph = NETWORKS[name]()
    q = quantized(graph, samples(graph), fold_graph=fold, single_shift=True)
    assert all(node.operator.element_type is dtype.int8 for node in q.inputs)
    for node in q.nodes:
        if node.annotations.get(Annotation.IS_ACTIVATION_QUANTIZER):
            assert node.operator.element_type is dtype.int8
            assert SCALE in node.annotations
    kinds = {
        node.type
        for node in q.nodes
        if node.annotations.get("quantization.ptq.isProducerQuantizer")
    }
    assert kinds == (set() if fold else {"Quantizer"})


@pytest.mark.parametrize("shift", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_no_quant_computes_what_the_float_network_does(name, shift):
    graph = NETWORKS[name]()
    x = samples(graph, 8)
    q = quantized(graph, x, no_quant=True, single_shift=shift)
    found = run(q, x / np.float32(q.inputs[0].annotations[SCALE]))
    unit = source(q.outputs[0].port).annotations[SCALE]
    expected = reference(graph, x)
    assert np.abs(found * unit - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("fake", [True, False])
def test_dequantize_returns_real_values(fake):
    graph = residual()
    x = samples(graph)
    integers = np.floor(127 * x + np.float32(0.5))
    q = quantized(graph, x, fake_quantize=fake)
    real = quantized(graph, x, fake_quantize=fake, dequantize=True)
    found = run(real, integers)
    assert found.dtype == np.float32
    unit = source(q.outputs[0].port).annotations[SCALE]
    assert np.array_equal(found, (run(q, integers).astype(np.float64) * unit).astype(np.float32))


def test_rescale_inputs_takes_the_values_of_the_float_network():
    graph = chain()
    x = samples(graph)
    q = quantized(graph, x, single_shift=True)
    rescaled = quantized(graph, x, single_shift=True, rescale_inputs=True)
    assert np.array_equal(run(rescaled, x), run(q, np.floor(127 * x + np.float32(0.5))))


def test_input_range_is_one_when_the_calibration_set_fits_and_measured_otherwise():
    graph = chain()
    x = samples(graph)
    assert quantized(graph, x).inputs[0].annotations[SCALE] == 1 / 127
    wide = quantized(graph, 200 * x)
    assert wide.inputs[0].annotations[SCALE] == pytest.approx(200 * np.abs(x).max() / 127)
    assert sqnr(reference(graph, 200 * x), real_output(wide, 200 * x)) > 28
    given = quantized(graph, x, input_range=2)
    assert given.inputs[0].annotations[SCALE] == 2 / 127


@pytest.mark.parametrize("value", [0, -1, np.nan, np.inf])
def test_input_range_must_be_positive(value):
    with pytest.raises(DataError, match="input_range of input"):
        quantized(chain(), samples(chain()), input_range=value)


def test_calibration_sets_of_every_form_give_the_same_network():
    graph = chain()
    x = samples(graph, 6)
    forms = [
        x,
        Tensor(x),
        list(x),
        [x[i : i + 1] for i in range(6)],
        [Tensor(x[:4]), Tensor(x[4:])],
        (part for part in (x[:1], x[1:])),
        {"input": x},
        [{"input": x[:2]}, {"input": x[2:]}],
    ]
    integers = np.floor(127 * x + np.float32(0.5))
    results = [run(quantized(graph, form), integers) for form in forms]
    assert all(np.array_equal(result, results[0]) for result in results)


BROKEN = {
    "empty": ([], DataError, "at least one sample"),
    "no rows": (np.zeros((0, 2, 6, 6), np.float32), DataError, "at least one sample"),
    "zeros": (np.zeros((3, 2, 6, 6)), DataError, "all values are 0"),
    "nan": (np.full((1, 2, 6, 6), np.nan), DataError, "NaN"),
    "infinite": (np.full((1, 2, 6, 6), np.inf), DataError, "infinity"),
    "shape": (np.zeros((1, 2, 6, 5)), ShapeError, r"expected \('batch', 2, 6, 6\)"),
    "rank": (np.zeros((6, 6)), ShapeError, "expected"),
    "ragged": ([[[1, 2], [3]]], ShapeError, "ragged"),
    "text": (np.full((1, 2, 6, 6), "x"), DtypeError, "expected real numbers"),
    "complex": (np.zeros((1, 2, 6, 6), complex), DtypeError, "expected real numbers"),
    "object": (np.full((1, 2, 6, 6), None), DtypeError, "expected real numbers"),
    "no set": (None, DtypeError, "expected arrays or Tensors"),
    "path": ("calibration.npz", DtypeError, "expected arrays or Tensors"),
    "name": ({"other": np.zeros((1, 2, 6, 6))}, ShapeError, "expected inputs"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_calibration_set_is_refused_and_the_graph_stays(case):
    data, error, text = BROKEN[case]
    graph = chain()
    auto_assign_node_precision(graph, dtype.int8, dtype.int8, dtype.int32)
    before = str(graph)
    with pytest.raises(error, match=text):
        quantize_network(graph, data)
    assert str(graph) == before


def test_network_without_precisions_is_refused():
    graph = chain()
    with pytest.raises(GraphError, match="auto_assign_node_precision"):
        quantize_network(graph, samples(graph))


def test_refused_architecture_raises_with_every_node_and_leaves_the_graph():
    net = Net((2, 4))
    net.add(Softmax(-1), "inner")
    net.add(MatMul(), "attention", net.last, net.constant(np.ones((2, 4, 3)), "values"))
    net.add(ReLU(), "relu")
    graph = net.done()
    auto_assign_node_precision(graph, dtype.int8, dtype.int8, dtype.int32)
    before = str(graph)
    with pytest.raises(UnsupportedError) as caught:
        quantize_network(graph, samples(graph))
    assert "inner (Softmax)" in str(caught.value)
    assert "attention (MatMul)" in str(caught.value)
    assert "relu" not in str(caught.value)
    assert str(graph) == before


def test_quantized_network_is_not_quantized_again():
    graph = chain()
    q = quantized(graph, samples(graph))
    with pytest.raises(AidgeQuantError, match="quantized already"):
        quantize_network(q, samples(graph))


def test_verbose_logs_and_silence_is_the_default(caplog, capsys):
    graph = chain()
    with caplog.at_level(logging.INFO, "aidge_quant"):
        quantized(graph, samples(graph))
        assert not caplog.records
        quantized(graph, samples(graph), verbose=True)
    assert "conv1_Scaling" in caplog.text
    assert not capsys.readouterr().out


def test_left_shift_is_right_in_single_shift_mode():
    net = Net((2,))
    net.fc("fc1", (2, 2))
    net.add(ReLU(), "relu")
    net.fc("fc2", (2, 1))
    graph = net.done()
    # fc2 cancels nearly all of what enters it, so its few units are spread over the whole range.
    for name, value in {
        "fc1_w": [[1, 0], [1, 0]],
        "fc1_b": [0, 0],
        "fc2_w": [[1, -1]],
        "fc2_b": [0],
    }.items():
        graph.node(name).operator.value[:] = value
    graph.node("fc1_w").operator.value[1, 1] = 1e-3
    x = samples(graph, 64)
    q = quantized(graph, x, single_shift=True, equalize=False)
    quantizer = q.node("fc2_Scaling")
    assert quantizer.operator.shift < 0
    integers = np.floor(127 * x + np.float32(0.5)).astype(np.int64)
    w1, w2 = (q.node(name).operator.value.astype(np.int64) for name in ("fc1_w", "fc2_w"))
    b1, b2 = (q.node(name).operator.value.astype(np.int64) for name in ("fc1_b", "fc2_b"))
    k = int(q.node("fc1_Scaling").operator.shift)
    hidden = np.maximum(np.clip((integers @ w1.T + b1 + (1 << (k - 1))) >> k, -128, 127), 0)
    factor = 1 << -int(quantizer.operator.shift)
    assert np.array_equal(run(q, integers), np.clip((hidden @ w2.T + b2) * factor, -128, 127))


def test_signs_give_unsigned_types_where_a_relu_follows():
    graph = residual()
    q = quantized(graph, samples(graph), optimize_signs=True)
    types = {
        node.name: node.operator.element_type
        for node in q.nodes
        if isinstance(node.operator, Quantizer)
    }
    assert types["stem_Scaling"] is dtype.uint8
    assert types["add1_Scaling"] is dtype.uint8
    assert types["conv2_Scaling"] is types["stem_relu_Res"] is dtype.int8  # one Add, one choice
    assert types["fc_Scaling"] is dtype.int8


def test_signs_do_not_collapse_a_residual_network():
    graph = residual(seed=11)
    x = samples(graph, 64)
    expected = reference(graph, x)
    for form in ({}, {"single_shift": True}):
        plain = sqnr(expected, real_output(quantized(graph, x, **form), x))
        signs = quantized(graph, x, optimize_signs=True, **form)
        assert sqnr(expected, real_output(signs, x)) > plain


def test_signs_double_the_resolution_and_keep_weights_and_shifts():
    graph = depthwise()
    x = samples(graph)
    plain = quantized(graph, x, single_shift=True)
    signs = quantized(graph, x, single_shift=True, optimize_signs=True)
    for name in ("point1", "depth", "point2", "fc"):
        weight = f"{name}_w"
        assert np.array_equal(plain.node(weight).operator.value, signs.node(weight).operator.value)
    for name in ("point1", "depth"):
        ratio = [g.node(f"{name}_Scaling").annotations[SCALE] for g in (plain, signs)]
        assert ratio[0] == pytest.approx(2 * ratio[1])


def test_sixteen_bit_activations_stay_signed():
    graph = chain()
    auto_assign_node_precision(graph, dtype.int16, dtype.int8, dtype.int32)
    quantize_network(graph, samples(graph), optimize_signs=True)
    assert graph.node("conv1_Scaling").operator.clip == (-(2**15), 2**15 - 1)


def test_sixteen_bit_activations_hold_twice_what_the_calibration_set_reached():
    graph = residual()
    x = samples(graph, 16)
    auto_assign_node_precision(graph, dtype.int16, dtype.int16, dtype.int32)
    quantize_network(graph, x / 2)
    original = residual()
    unit = graph.inputs[0].annotations[SCALE]
    found = run(graph, np.floor(x / unit + 0.5)) * source(graph.outputs[0].port).annotations[SCALE]
    assert sqnr(reference(original, x), found) > 40


@pytest.mark.parametrize("channel_wise", [True, False])
def test_scales_of_the_graph_are_those_of_the_integer_network(channel_wise):
    graph = residual()
    q = quantized(graph, samples(graph), channel_wise=channel_wise)
    for node in q.nodes:
        if node.annotations.get(Annotation.IS_ACTIVATION_QUANTIZER):
            mantissa, _ = np.frexp(node.operator.scale)
            assert np.all(mantissa * 2**31 == np.floor(mantissa * 2**31))


def test_four_bit_weights_beside_eight_bit_activations_do_not_collapse():
    graph = chain()
    x = samples(graph, 32)
    q = quantized(graph, x, dtype.int4, channel_wise=True)
    weight = q.node("conv1_w").operator
    assert weight.element_type is dtype.int4
    assert np.abs(weight.value).max() == 7
    assert sqnr(reference(graph, x), real_output(q, x)) > 12


def test_sixteen_bit_activations_are_nearly_exact():
    graph = residual()
    x = samples(graph, 16)
    q = graph.clone()
    auto_assign_node_precision(q, dtype.int16, dtype.int16, dtype.int32)
    quantize_network(q, x, single_shift=True)
    unit = q.inputs[0].annotations[SCALE]
    found = run(q, np.floor(x / unit + 0.5)) * source(q.outputs[0].port).annotations[SCALE]
    assert sqnr(reference(graph, x), found) > 45
