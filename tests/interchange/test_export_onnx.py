"""export_onnx, set_to_qdq, set_to_qop: files, round trips, and what is refused."""

import json

import numpy as np
import onnx
import pytest
from float_networks import residual, samples
from graph_cases import CASES
from onnx_engines import ENGINES, ON_INT8, checked_model, golden, integers_of, real_inputs
from quantized_pairs import quantized
from random_networks import inputs_for
from small_networks import small_network

import aidge_quant as aq
from aidge_quant.errors import DtypeError, FileError, GraphError, UnsupportedError
from aidge_quant.onnx_io.reader import read_model
from aidge_quant.ptq import auto_assign_node_precision, quantize_network

MODES = {
    "shift": {"single_shift": True},
    "shift-channels": {"single_shift": True, "channel_wise": True},
    "multiplier": {},
    "multiplier-channels": {"channel_wise": True},
}


def case_graph(name, mode):
    """Return a quantized graph that holds the rules of lowering."""
    graph = CASES[name]()
    auto_assign_node_precision(graph, aq.dtype.int8, aq.dtype.int8, aq.dtype.int32)
    rng = np.random.default_rng(1)
    calibration = {
        node.name: rng.uniform(-1, 1, (24, *node.operator.shape[1:])).astype(np.float32)
        for node in graph.inputs
    }
    quantize_network(
        graph,
        [calibration] if len(calibration) > 1 else next(iter(calibration.values())),
        **MODES[mode],
    )
    return graph


@pytest.fixture(scope="module")
def float_graph():
    return residual()


@pytest.fixture(scope="module")
def graph(float_graph):
    return quantized(float_graph, samples(float_graph))


def expect_same_integers(graph, network):
    q = inputs_for(network, 8)
    again = aq.lower(graph)
    for name, values in golden(network, q).items():
        np.testing.assert_array_equal(golden(again, q)[name], values)


# -- round trips ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CASES)
def test_from_qdq_gives_back_the_integers(name, mode):
    graph = case_graph(name, mode)
    network = aq.lower(graph)
    for scales in ("power_of_two", "real"):
        copy = graph.clone()
        aq.set_to_qdq(copy, scales=scales)
        aq.from_qdq(copy)
        expect_same_integers(copy, network)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CASES)
def test_from_qop_gives_back_the_integers(name, mode):
    graph = case_graph(name, mode)
    network = aq.lower(graph)
    for contrib in (False, True):
        copy = graph.clone()
        aq.set_to_qop(copy, contrib=contrib)
        aq.from_qop(copy)
        expect_same_integers(copy, network)


@pytest.mark.parametrize("mode", ["shift", "multiplier-channels"])
@pytest.mark.parametrize("name", CASES)
def test_a_written_model_comes_back_with_its_integers(name, mode):
    graph = case_graph(name, mode)
    network = aq.lower(graph)
    for unsigned in (aq.dtype.int8, aq.dtype.uint8):
        copy = graph.clone()
        aq.set_to_qdq(copy, activations=unsigned)
        again = read_model(checked_model(copy, 21))
        aq.from_qdq(again)
        expect_same_integers(again, network)


@pytest.mark.parametrize("name", CASES)
def test_a_single_shift_graph_is_equal_in_other_engines(name):
    graph = case_graph(name, "shift")
    network = aq.lower(graph)
    q = inputs_for(network, 8)
    aq.set_to_qdq(graph)
    found = integers_of(
        network, ENGINES["onnxruntime"](checked_model(graph, 21), real_inputs(network, q))
    )
    for output, values in golden(network, q).items():
        if values.dtype == np.int8:
            np.testing.assert_array_equal(found[output], values)


# -- operators of ONNX's own ---------------------------------------------------------------------


def test_operators_can_be_selected(graph):
    copy = graph.clone()
    aq.set_to_qop(copy, ["QLinearConv"])
    types = {node.type for node in copy.nodes}
    assert "QLinearConv" in types
    assert "QLinearAdd" not in types
    aq.set_to_qop(copy, ["QLinearAdd"], contrib=True)
    assert "QLinearAdd" in {node.type for node in copy.nodes}


def test_operators_outside_the_standard_need_an_option(graph):
    with pytest.raises(UnsupportedError, match="QLinearAdd.*contrib=True"):
        aq.set_to_qop(graph.clone(), ["QLinearAdd"])


def test_qdq_needed_demands_a_graph_that_is_not_in_that_form(graph):
    copy = graph.clone()
    aq.set_to_qdq(copy)
    with pytest.raises(GraphError, match="in QDQ form already; leave qdq_needed out"):
        aq.set_to_qop(copy, qdq_needed=True)
    aq.set_to_qop(graph.clone(), qdq_needed=True)


@pytest.mark.parametrize("name", ["residual", "average_pools"])
def test_quantized_operators_run_in_onnx_runtime(name):
    graph = case_graph(name, "shift")
    network = aq.lower(graph)
    q = inputs_for(network, 8)
    aq.set_to_qop(graph, contrib=True)
    model = checked_model(graph, 17)
    assert {"com.microsoft"} <= {opset.domain for opset in model.opset_import}
    for run in ON_INT8.values():
        found = integers_of(network, run(model, real_inputs(network, q)))
        for output, values in golden(network, q).items():
            np.testing.assert_array_equal(found[output], values)


# -- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["qdq", "qop", "integer"])
def test_a_file_has_its_form_and_says_what_it_is(graph, tmp_path, form):
    path = tmp_path / "net.onnx"
    aq.export_onnx(graph, path, form=form)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    types = {node.op_type for node in model.graph.node}
    stored = {prop.key: prop.value for prop in model.metadata_props}
    assert stored["aidge_quant.form"] == form
    marks = {"qdq": "DequantizeLinear", "qop": "QLinearConv", "integer": "ConvInteger"}
    assert marks[form] in types
    assert {"qdq": 21, "qop": 17, "integer": 13}[form] == model.opset_import[0].version
    network = aq.lower(graph)
    stored = {prop.key: prop.value for prop in model.metadata_props}
    assert stored["aidge_quant.digest"] == network.digest
    assert stored["aidge_quant.version"] == aq.__version__
    assert {t.name for t in network.tensors} == set(json.loads(stored["aidge_quant.tensors"]))
    assert [i.name for i in model.graph.input] == list(network.input_names)
    assert [o.name for o in model.graph.output] == list(network.output_names)
    names = {node.name for node in model.graph.node}
    assert {layer.name for layer in network.layers if hasattr(layer, "weight")} <= names
    again = tmp_path / "again.onnx"
    aq.export_onnx(network, again, form=form)
    assert again.read_bytes() == path.read_bytes()


def test_a_float_graph_is_written_as_it_is(float_graph, tmp_path):
    aq.export_onnx(float_graph, tmp_path / "net.onnx")
    again = aq.load_onnx(tmp_path / "net.onnx")
    x = samples(float_graph)
    np.testing.assert_array_equal(aq.run(again, x), aq.run(float_graph, x))


def test_a_graph_that_was_set_is_written_as_it_is(graph, tmp_path):
    network = aq.lower(graph)
    copy = graph.clone()
    aq.set_to_qdq(copy)
    aq.export_onnx(copy, tmp_path / "net.onnx")
    again = aq.load_onnx(tmp_path / "net.onnx")
    aq.from_qdq(again)
    expect_same_integers(again, network)


@pytest.mark.parametrize("form", ["qdq", "integer"])
def test_four_bit_weights_are_eight_bits_before_opset_21(tmp_path, form):
    network = small_network("conv_int4")
    for opset in (13, 17, 21):
        aq.export_onnx(network, tmp_path / "net.onnx", form=form, opset=opset)
        model = onnx.load(tmp_path / "net.onnx")
        kinds = {tensor.data_type for tensor in model.graph.initializer}
        wanted = form == "qdq" and opset >= 21
        assert (onnx.TensorProto.INT4 in kinds) == wanted


def test_sixteen_bits_need_opset_21(tmp_path):
    network = small_network("conv_int16")
    aq.export_onnx(network, tmp_path / "net.onnx")
    with pytest.raises(UnsupportedError, match="pass opset=21"):
        aq.export_onnx(network, tmp_path / "other.onnx", opset=17)
    assert not (tmp_path / "other.onnx").exists()


@pytest.mark.parametrize("opset", [13, 17, 19, 21])
def test_older_operator_sets_give_the_same_integers(opset):
    network = small_network("residual")
    q = inputs_for(network)
    graph = aq.interchange.qdq.form.qdq_graph(network, aq.interchange.qdq.sheet.QdqOptions())
    model = checked_model(graph, opset)
    found = integers_of(network, ENGINES["onnxruntime"](model, real_inputs(network, q)))
    for output, values in golden(network, q).items():
        np.testing.assert_array_equal(found[output], values)


def test_half_even_is_an_option_of_lower(graph):
    network = aq.lower(graph, rounding="half_even")
    forms = {layer.requantization.rounding for layer in network.layers if hasattr(layer, "weight")}
    assert forms == {"half_even"}
    with pytest.raises(GraphError, match="rounding is 'up', expected 'half_up' or 'half_even'"):
        aq.lower(graph, rounding="up")


# -- wrong use -----------------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["set_to_qdq", "set_to_qop"])
def test_a_float_graph_is_refused_and_stays(float_graph, function):
    copy = float_graph.clone()
    before = str(copy)
    with pytest.raises(GraphError, match="is not quantized: it has n.*call quantize_network"):
        getattr(aq, function)(copy)
    assert str(copy) == before


def test_from_qdq_wants_a_qdq_graph(float_graph):
    with pytest.raises(GraphError, match="holds no QuantizeLinear"):
        aq.from_qdq(float_graph.clone())


@pytest.mark.parametrize("function", ["set_to_qdq", "set_to_qop", "from_qdq", "from_qop"])
@pytest.mark.parametrize("value", [None, "net.onnx", small_network("conv")])
def test_something_else_than_a_graph_is_refused(function, value):
    with pytest.raises(DtypeError, match="expected a GraphView"):
        getattr(aq, function)(value)


@pytest.mark.parametrize("names", ["QLinearConv", None, [1]])
def test_names_of_operators_are_a_list(graph, names):
    with pytest.raises(DtypeError, match="expected a list of operators|expected names"):
        aq.set_to_qop(graph.clone(), names)
    with pytest.raises(DtypeError, match="expected a list of operators|expected names"):
        aq.from_qop(graph.clone(), names)


def test_a_graph_in_a_form_says_what_to_do(graph, tmp_path):
    copy = graph.clone()
    aq.set_to_qdq(copy)
    aq.export_onnx(copy, tmp_path / "net.onnx", form="qdq")
    with pytest.raises(GraphError, match="is in the form 'qdq'; call from_qop"):
        aq.export_onnx(copy, tmp_path / "other.onnx", form="integer")
    with pytest.raises(GraphError, match="quantized forms already"):
        aq.set_to_qdq(copy)
    with pytest.raises(UnsupportedError, match="call from_qdq or from_qop before lower"):
        aq.lower(copy)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"form": "tflite"}, UnsupportedError, "form is 'tflite', expected 'qdq', 'qop' or"),
        ({"scales": "any"}, UnsupportedError, "scales is 'any', expected 'real' or"),
        ({"activations": aq.dtype.int16}, DtypeError, "expected dtype.int8 or dtype.uint8"),
        ({"opset": 3}, UnsupportedError, "opset is 3, expected 7 to"),
        ({"opset": "17"}, DtypeError, "opset is '17', expected a whole number"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(
    graph, tmp_path, options, error, text
):
    with pytest.raises(error, match=text):
        aq.export_onnx(graph, tmp_path / "net.onnx", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_form_of_a_float_graph_is_refused(float_graph, tmp_path):
    with pytest.raises(GraphError, match="form 'integer': it has no Quantizer"):
        aq.export_onnx(float_graph, tmp_path / "net.onnx", form="integer")


def test_a_missing_folder_is_refused(graph, tmp_path):
    with pytest.raises(FileError, match="missing"):
        aq.export_onnx(graph, tmp_path / "missing" / "net.onnx")


def test_something_else_is_refused(tmp_path):
    with pytest.raises(DtypeError, match="network is a str, expected a GraphView"):
        aq.export_onnx("net.onnx", tmp_path / "net.onnx")


def test_numbers_on_record_that_do_not_agree_are_left_out(graph, caplog):
    copy = graph.clone()
    aq.set_to_qdq(copy, scales="real")
    key = "aidge_quant.requantization"
    steps = json.loads(copy.metadata[key])
    for entry in steps.values():
        factor = np.asarray(entry["factor"]) * 3
        entry["factor"] = factor.tolist()
    copy.metadata[key] = json.dumps(steps)
    aq.from_qdq(copy)
    assert "the scales are used" in caplog.text
    layers = aq.lower(copy).layers
    rounded = {layer.requantization.rounding for layer in layers if hasattr(layer, "weight")}
    assert rounded == {"half_even"}  # as ONNX rounds, where no number on record says otherwise
