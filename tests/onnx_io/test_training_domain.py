"""Graphs with quantizers for training go to ONNX and back: values, attributes, and training."""

import dataclasses

import networks
import numpy as np
import onnx
import pytest
import trained_networks as nets
from onnx import helper

import aidge_quant as aq
from aidge_quant import lsq, ops, sat
from aidge_quant.errors import AidgeQuantError, DataError
from aidge_quant.graph import GraphView
from aidge_quant.onnx_io import to_model
from aidge_quant.onnx_io.reader import read_model
from aidge_quant.ops.learned_quantization import TRAINING_DOMAIN
from aidge_quant.training import SGD, fit, parameters

X, Y = nets.samples(80)
NETS = (nets.chain, nets.residual, nets.concat, nets.linear_bottleneck)


def with_lsq(graph):
    lsq.setup_quantizers(graph, 4, calibration=X)


def with_shifts(graph):
    lsq.setup_quantizers(graph, 4, power_of_two=True, calibration=X)


def without_steps(graph):
    lsq.setup_quantizers(graph, 4, fold_batch_norms=False)


def frozen(graph):
    lsq.setup_quantizers(graph, 4, fold_batch_norms=False, calibration=X)
    lsq.freeze_batch_norms(graph)


def with_sat(graph):
    sat.insert_sat_nodes(graph, True)
    sat.insert_param_quantizers(graph, 4, ops.DoReFaMode.Asymmetric)
    sat.insert_activ_quantizers(graph, 4, input_range=3.3, calibration=X)


WAYS = (with_lsq, with_shifts, without_steps, frozen, with_sat)


def back(graph, **options):
    return read_model(to_model(graph, keep_training=True, **options))


def described(graph):
    """Return every node: its operator with all fields but values, and where it reads from.

    Real numbers of standard operators are float32 in ONNX.
    """
    found = {}
    for node in graph.topological():
        operator = node.operator
        names = [f.name for f in dataclasses.fields(operator)]
        values = {n: getattr(operator, n) for n in names if n != "value"}
        if operator.onnx_domain != TRAINING_DOMAIN:
            values = {n: np.float32(v) if isinstance(v, float) else v for n, v in values.items()}
        inputs = [None if p is None else (p.node.name, p.index) for p in node.inputs]
        found[node.name] = (operator.type, values, inputs)
    return found


def equal_values(one, other):
    for node in one.topological():
        if isinstance(node.operator, ops.Producer):
            found = other.node(node.name).operator.value
            assert found.dtype == node.operator.value.dtype
            np.testing.assert_array_equal(found, node.operator.value)


@pytest.mark.parametrize("make", NETS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_graph_comes_back_and_trains_on(make, way):
    graph = make()
    way(graph)
    again = back(graph)
    assert described(again) == described(graph)
    equal_values(graph, again)
    np.testing.assert_array_equal(aq.run(again, X), aq.run(graph, X))
    kinds = [{p.name: p.kind for p in parameters(g)} for g in (graph, again)]
    assert kinds[0] == kinds[1]
    options = {"epochs": 1, "batch_size": 20, "optimizer": SGD(0.01), "seed": 3}
    histories = [fit(g, (X, Y), **options) for g in (graph, again)]
    assert histories[0] == histories[1]
    equal_values(graph, again)
    transform = sat if way is with_sat else lsq
    for g in (graph, again):
        transform.post_training_transform(g, True)
    one, other = aq.lower(graph), aq.lower(again)
    np.testing.assert_array_equal(
        one.run(one.quantize_input(X)), other.run(other.quantize_input(X))
    )


@pytest.mark.parametrize("name", ["resnet", "dwsep", "mbv2r"])
def test_reference_networks_come_back(name, tmp_path):
    samples = networks.NETWORKS[name].samples()
    graph = aq.load_onnx(networks.NETWORKS[name].file())
    lsq.setup_quantizers(graph, 4, fold_batch_norms=False, calibration=samples.calibration)
    path = tmp_path / "trained.onnx"
    aq.export_onnx(graph, path, keep_training=True)
    again = aq.load_onnx(path)
    assert described(again) == described(graph)
    np.testing.assert_array_equal(aq.run(again, samples.test), aq.run(graph, samples.test))


OPERATORS = [
    ops.LSQ((-8, 7)),
    ops.LSQ((0, 15), power_of_two=True),
    ops.CGPACT(15),
    ops.FixedQ(5, 0.7),
    ops.FixedQ(3, 1 / 3, True),
    ops.FixedQ(4, 2.0, half_up=True),
    ops.DoReFa(7),
    *(ops.DoReFa(15, mode) for mode in ops.DoReFaMode),
    ops.BiasQuantizer(),
    ops.BiasQuantizer(power_of_two=True),
    ops.TanhClamp(),
    ops.ScaleAdjust(),
]


@pytest.mark.parametrize("operator", OPERATORS, ids=str)
@pytest.mark.parametrize("opset", [7, 13, 21])
def test_every_operator_keeps_its_attributes(operator, opset):
    graph = GraphView("one")
    inputs = [graph.add_input(ops.Input((1, 5)), "x")]
    for slot in range(1, len(operator.roles)):
        inputs.append(graph.add(ops.producer(np.float32([0.3 * slot])), (), f"p{slot}"))
    node = graph.add(operator, inputs, "node")
    graph.add_output(node, "y")
    again = back(graph, opset=opset)
    assert described(again) == described(graph)
    assert to_model(again, opset=opset, keep_training=True) == to_model(
        graph, opset=opset, keep_training=True
    )


def test_the_second_output_comes_back_too():
    graph = GraphView("scaled")
    x = graph.add_input(ops.Input((1, 5)), "x")
    node = graph.add(ops.TanhClamp(), (x,), "clamp")
    graph.add_output(node, "y")
    graph.add_output(aq.graph.Port(node, 1), "divisor")
    again = back(graph)
    x = np.linspace(-2, 1, 10, dtype=np.float32).reshape(2, 5)
    for name, value in aq.run(graph, x).items():
        np.testing.assert_array_equal(aq.run(again, x)[name], value)


def test_all_operators_for_training_are_in_the_domain():
    found = {n for n, cls in ops.registered().items() if cls.onnx_domain == TRAINING_DOMAIN}
    assert found == {operator.type for operator in OPERATORS}


def test_expanded_is_still_the_form_that_others_run():
    graph = nets.chain()
    with_lsq(graph)
    assert not {node.domain for node in to_model(graph).graph.node} - {""}


def changed(index, **attributes):
    graph = GraphView("one")
    x = graph.add_input(ops.Input((1, 5)), "x")
    step = graph.add(ops.producer(np.float32([0.3])), (), "step")
    x = graph.add(ops.LSQ((-8, 7)), (x, step), "lsq")
    x = graph.add(ops.FixedQ(), (x,), "fixed")
    graph.add_output(graph.add(ops.DoReFa(7), (x,), "dorefa"), "y")
    model = to_model(graph, keep_training=True)
    node = model.graph.node[index]
    for name, value in attributes.items():
        kept = [a for a in node.attribute if a.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(name, value)])
    return model


@pytest.mark.parametrize(
    ("index", "attributes", "message"),
    [
        (0, {"range": [1, 2, 3]}, "expected the least and largest integer"),
        (0, {"range": [3, -3]}, "range is"),
        (0, {"power_of_two": 2}, "power_of_two is 2, expected 0 or 1"),
        (0, {"more": 1}, r"its attributes \['more'\] are not handled"),
        (1, {"span": 2.0}, "attribute span is of kind"),
        (1, {"nb_bits": 0}, "nb_bits is 0"),
        (2, {"mode": "Other"}, "mode is 'Other', expected one of Default"),
        (2, {"range": 0}, "range is 0"),
    ],
)
def test_attributes_that_are_none_are_refused(index, attributes, message):
    with pytest.raises(AidgeQuantError, match=message):
        read_model(changed(index, **attributes))


def test_an_unknown_list_of_constants_is_refused():
    model = changed(0)
    entry = onnx.StringStringEntryProto(key="aidge_quant.constants", value="{}")
    model.metadata_props.append(entry)
    with pytest.raises(DataError, match="expected a list of names in JSON"):
        read_model(model)
