"""What cannot be imported is refused by name, with what was expected, what came and a remedy."""

import contextlib
import re
import zlib

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from qdq_idioms import MODELS
from qdq_models import QdqModel

import aidge_quant as aq
from aidge_quant.errors import AidgeQuantError, GraphError, UnsupportedError
from aidge_quant.interchange import from_qdq, from_qop, fuse_qdq
from aidge_quant.interchange.expand import expand_qop
from aidge_quant.onnx_io.reader import read_model

IN = (0.02, 131, "uint8")
OUT = (0.05, 3, "int8")
FAR = (2000.0, 0, "int8")
SHAPE = (4, 6, 6)


def conv(m, x, *bias, name="conv", weight=None):
    return m.node("Conv", x, weight or m.weight((5, 4, 3, 3), 0.004), *bias, name=name)


def conv_four(m, x):
    return conv(m, x, weight=m.weight((4, 4, 1, 1)))


def bare_weight(m):
    return m.constant(np.ones((5, 4, 3, 3), np.float32), "w")


REFUSED = {
    "weight_in_float": (
        lambda m, x: m.through(conv(m, x, weight=bare_weight(m)), OUT),
        r"conv \(Conv\): its weight w is in float, expected a DequantizeLinear.*quantize the",
    ),
    "bias_on_another_scale": (
        lambda m, x: m.through(conv(m, x, m.bias(5, 0.02 * 0.005)), OUT),
        r"conv \(Conv\): its bias \S+ has scale 0\.0001 in channel 0, expected 8e-05",
    ),
    "weight_scales_along_the_inputs": (
        lambda m, x: m.through(
            conv(m, x, weight=m.weight((5, 4, 3, 3), np.full(4, 0.1), axis=1)), OUT
        ),
        r"conv \(Conv\): the scales of its weight \S+ run along axis 1",
    ),
    "float_head": (
        lambda m, x: m.through(m.node("Conv", "x", m.weight((5, 4, 3, 3)), name="head"), OUT),
        r"head \(Conv\): input 0 comes from x \(Input\) in float.*quantize the input",
    ),
    "float_tail": (
        lambda m, x: m.node("Sigmoid", m.through(conv(m, x), OUT), name="tail"),
        r"tail \(Sigmoid\): the output of the graph is in float.*cut the model behind",
    ),
    "function_of_an_accumulator": (
        lambda m, x: m.through(m.node("Sigmoid", conv(m, x), name="gate"), OUT),
        r"gate \(Sigmoid\): input 0 comes from conv \(Conv\) in float.*quantize the output of conv",
    ),
    "softmax_in_the_middle": (
        lambda m, x: m.through(
            m.node("Relu", m.through(m.node("Softmax", x, name="soft"), OUT)), OUT
        ),
        r"soft \(Softmax\): the operator has no integer form; cut the model",
    ),
    "product_of_activations": (
        lambda m, x: m.through(m.node("MatMul", x, x, name="attention"), OUT),
        r"attention \(MatMul\): its weight \S+ is computed, expected a constant",
    ),
    "residual_between_units": (
        lambda m, x: m.through(m.node("Add", conv4(m, x), x, name="sum"), OUT),
        r"sum \(Add\): the scale of \S+ is 285\.\S* times that of the accumulator",
    ),
    "scales_too_far_apart": (
        lambda m, x: m.through(
            m.node("Add", x, m.through(x, (2000.0, 0, "int8")), name="sum"), OUT
        ),
        r"sum \(Add\): the scales of its inputs are 0\.02 and 2000, too far apart",
    ),
    "wide_activation_with_a_zero_point": (
        lambda m, x: m.through(conv(m, x), (0.001, 100, "uint16")),
        r"\(QuantizeLinear\): uint16, scale 0\.001, zero point 100 holds -100 to 65435.*int16 with",
    ),
    "two_readings_of_one_tensor": (
        lambda m, x: m.dequantize(m.quantize(conv(m, x), OUT), (0.06, 3, "int8")),
        r"\(DequantizeLinear\): it reads int8, scale 0\.06.* was quantized as int8, scale 0\.05",
    ),
    "constant_added_to_a_relu": (
        lambda m, x: m.through(
            m.node("Add", m.node("Relu", conv(m, x), name="act"), m.constant(np.float32(-1.5))), OUT
        ),
        r"\(Add\): it adds to what act has clipped, before a QuantizeLinear",
    ),
    "residual_on_a_relu": (
        lambda m, x: m.through(m.node("Add", m.node("Relu", conv_four(m, x), name="act"), x), OUT),
        r"\(Add\): it adds to what act has clipped",
    ),
    "two_scales_for_one_accumulator": (
        lambda m, x: m.through(
            m.node("Concat", *(m.through(conv_once(m, x), g) for g in (OUT, IN)), axis=1), OUT
        ),
        r"\(QuantizeLinear\): another QuantizeLinear takes the same result",
    ),
    "upper_bound_off_the_grid": (
        lambda m, x: m.through(
            conv(m, m.node("Clip", x, m.constant(np.float32(0)), m.constant(np.float32(1.231)))),
            OUT,
        ),
        r"conv \(Conv\): the bound 1\.231 of \S+ before it is not on the grid",
    ),
    "constant_as_a_tensor": (
        lambda m, x: m.through(
            m.node("Concat", x, m.weight((1, 2, 6, 6)), axis=1, name="join"), OUT
        ),
        r"join \(Concat\): .*constant",
    ),
    "average_cut_by_padding": (
        lambda m, x: m.through(
            m.node("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], name="mean"), OUT
        ),
        r"mean \(AveragePool\): its windows reach into the padding.*count_include_pad",
    ),
    "dynamic_quantization": (
        lambda m, x: m.through(dynamic(m, x), OUT),
        r"measure \(DynamicQuantizeLinear\): its scale is measured.*statically",
    ),
}


def conv4(m, x):
    return m.node("Conv", x, m.weight((4, 4, 1, 1), 0.0035), name="conv")


def conv_once(m, x):
    return "conv_out" if any(n.name == "conv" for n in m.nodes) else conv(m, x)


def dynamic(m, x):
    parts = m.node("DynamicQuantizeLinear", x, name="measure", outputs=3)
    return m.node("DequantizeLinear", *parts)


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_by_name_and_the_graph_stays(name):
    build, expected = REFUSED[name]
    m = QdqModel(SHAPE)
    graph = read_model(m.build(build(m, m.through("x", IN))))
    before = str(graph)
    with pytest.raises(UnsupportedError) as caught:
        from_qdq(graph)
    assert re.search(expected, str(caught.value).replace("\n", " ")), str(caught.value)
    assert str(graph) == before


def test_all_faults_are_listed():
    m = QdqModel(SHAPE)
    x = m.through("x", IN)
    first = m.through(m.node("Softmax", x, name="one"), OUT)
    second = m.through(conv(m, x, weight=bare_weight(m), name="two"), OUT)
    graph = read_model(m.build(m.through(m.node("Relu", first), OUT), second))
    with pytest.raises(UnsupportedError, match=r"(?s)2 nodes of.*one \(Softmax\).*two \(Conv\)"):
        from_qdq(graph)


def test_a_float_graph_is_not_in_qdq_form():
    m = QdqModel(SHAPE)
    graph = read_model(m.build(m.node("Relu", "x")))
    with pytest.raises(GraphError, match="holds no QuantizeLinear.*quantize_network a float"):
        from_qdq(graph)


def test_operators_on_quantized_tensors_need_from_qop():
    m = QdqModel(SHAPE)
    x = m.through("x", IN)
    graph = read_model(m.build(m.through(conv(m, x), OUT)))
    fuse_qdq(graph)
    with pytest.raises(UnsupportedError, match=r"conv \(QLinearConv\).*call from_qop"):
        from_qdq(graph)
    with pytest.raises(UnsupportedError, match=r"conv \(QLinearConv\).*call from_qop"):
        from_qop(graph, ["QLinearMatMul"])
    from_qop(graph)
    assert graph.node("conv").type == "Conv"


def test_names_of_operators_are_checked():
    m = QdqModel(SHAPE)
    graph = read_model(m.build(m.through(conv(m, m.through("x", IN)), OUT)))
    with pytest.raises(UnsupportedError, match=r"\['QConv'\] cannot be expanded, expected some of"):
        expand_qop(graph, ["QConv"])
    with pytest.raises(UnsupportedError, match=r"\['QConv'\] cannot be made"):
        fuse_qdq(graph, ["QConv"])
    with pytest.raises(
        UnsupportedError, match=r"\['QGemm'\] are not of the ONNX standard.*contrib"
    ):
        fuse_qdq(graph, ["QGemm"])


# -- damaged files ---------------------------------------------------------------------------------


def pair(scale, zero=None, *, data="x", axis=None, shape=SHAPE, kind=None):
    """Return a model of one QuantizeLinear and one DequantizeLinear with given constants."""
    m = QdqModel(shape, opset=19)
    parts = [m.constant(np.asarray(scale), "s")]
    if zero is not None:
        parts.append(m.constant(np.asarray(zero), "z"))
    given = {} if axis is None else {"axis": axis}
    q = m.node("QuantizeLinear", data, *parts, name="q", **given)
    zeros = [] if zero is None else [m.constant(np.asarray(zero, kind or np.asarray(zero).dtype))]
    return m.build(m.node("DequantizeLinear", q, parts[0], *zeros, name="dq", **given))


F = np.float32

DAMAGED = {
    "zero_scale": (pair(F(0)), r"scale \(input 1\) 's' holds 0.0, expected finite numbers above 0"),
    "negative_scale": (pair(F(-0.5)), "holds -0.5, expected finite"),
    "nan_scale": (pair(F("nan")), "holds nan, expected finite"),
    "infinite_scale": (pair(F("inf")), "holds inf, expected finite"),
    "one_bad_of_many": (pair(np.array([1, 2, 0, 1], F), axis=1), "holds 0.0, expected finite"),
    "too_few_scales": (
        pair(np.ones(3, F), axis=1),
        "scale has 3 values, expected 1 or 4, the size of axis 1",
    ),
    "axis_out_of_range": (pair(np.ones(4, F), axis=7), "axis 7 does not exist in data of 4 axes"),
    "blocks": (pair(np.ones((4, 3), F), axis=1), r"its scale has shape \(4, 3\)"),
    "zero_point_of_another_shape": (
        pair(np.ones(4, F), np.uint8(3), axis=1),
        r"zero point has shape \(\), expected \(4,\)",
    ),
    "zero_point_of_another_type": (
        pair(F(1), np.uint8(3), kind=np.int8),
        "zero point is int8, expected uint8, the type of the data",
    ),
    "integer_scale": (pair(np.int32(1)), "'s' is int32, expected a float type"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_refused(name):
    damaged, expected = DAMAGED[name]
    with pytest.raises(AidgeQuantError, match=expected):
        read_model(damaged)


def test_a_missing_scale_is_refused():
    m = QdqModel(SHAPE)
    m.nodes.append(helper.make_node("QuantizeLinear", ["x"], ["y"], "q"))
    with pytest.raises(AidgeQuantError, match=r"q \(QuantizeLinear\)"):
        read_model(m.build("y"))


def test_a_computed_scale_is_read_but_not_imported():
    m = QdqModel((4,))
    q = m.node("QuantizeLinear", "x", m.node("ReduceMax", "x", keepdims=0), name="q")
    graph = read_model(m.build(m.node("DequantizeLinear", q, m.constant(F(1)))))
    with pytest.raises(UnsupportedError, match=r"q \(QuantizeLinear\): its scale \S+ is computed"):
        from_qdq(graph)


def test_operators_of_one_domain_are_not_taken_from_the_other():
    m = QdqModel(SHAPE)
    m.nodes.append(helper.make_node("QLinearAdd", ["x"] * 8, ["y"], "q"))
    with pytest.raises(UnsupportedError, match="domain ''"):
        read_model(m.build("y"))


def damaged(built, rng):
    """Return a model with one input, constant or operator changed at random."""
    changed = onnx.ModelProto()
    changed.CopyFrom(built)
    graph = changed.graph
    node = graph.node[rng.integers(len(graph.node))]
    tensor = graph.initializer[rng.integers(len(graph.initializer))]
    slot, array = rng.integers(len(node.input)), numpy_helper.to_array(tensor)
    match rng.integers(6):
        case 0:
            node.input[slot] = tensor.name
        case 1:
            node.input[slot] = ""
        case 2:
            del node.input[-1]
        case 3:
            node.input[slot] = graph.node[0].output[0]
        case 4:
            kind = rng.choice(["int8", "uint8", "int32", "float32"])
            tensor.CopyFrom(numpy_helper.from_array(array.astype(kind), tensor.name))
        case 5:
            half = array.reshape(-1)[: max(1, array.size // 2)].copy()
            tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
    return changed


@pytest.mark.parametrize("name", MODELS)
def test_random_damage_is_refused_by_errors_of_ours(name):
    m = QdqModel(SHAPE)
    built = m.build(MODELS[name](m, m.through("x", IN)))
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    for _ in range(12):
        with contextlib.suppress(AidgeQuantError):
            graph = read_model(damaged(built, rng))
            if rng.integers(2):
                fuse_qdq(graph, contrib=True)
            from_qop(graph)
            aq.lower(graph)
