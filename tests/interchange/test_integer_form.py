"""The integer form: every engine gives the bits of the golden model."""

import numpy as np
import pytest
from export_cases import random_networks
from onnx_engines import ENGINES, by_name, checked_model, golden
from random_networks import inputs_for
from small_networks import SMALL_NETWORKS, small_network

from aidge_quant.dtypes import dtype
from aidge_quant.errors import UnsupportedError
from aidge_quant.executor import evaluate
from aidge_quant.integer.layers import Affine, MaxPool
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.interchange.integer.form import integer_graph
from aidge_quant.onnx_io.reader import read_model

#: Standard operators that a model in this form may hold.
ALLOWED = {
    *("Add", "ArgMax", "Cast", "Concat", "ConvInteger", "Div", "Gather", "MatMulInteger", "Max"),
    *(
        "MaxPool",
        "Resize",
        "Shape",
        "Min",
        "Mul",
        "Pad",
        "Reshape",
        "Slice",
        "Sub",
        "Transpose",
        "Identity",
    ),
}


def has_form(network: IntegerNetwork) -> bool:
    """Whether the network is one that the form can say."""
    for layer in network.layers:
        kinds = {network.tensor(name).dtype for name in layer.inputs}
        if isinstance(layer, MaxPool) and kinds != {dtype.int8}:
            return False
        if isinstance(layer, Affine) and layer.weight_dtype is dtype.int16:
            return False
    return all(tensor.dtype is not dtype.int16 for tensor in network.tensors)


SMALL = {name: small_network(name) for name in SMALL_NETWORKS}


def expect_equal(network: IntegerNetwork, engines=tuple(ENGINES), batch: int = 3) -> None:
    q = inputs_for(network, batch)
    feeds, expected = by_name(network.input_names, q), golden(network, q)
    model = checked_model(integer_graph(network), 13)
    assert {node.op_type for node in model.graph.node} <= ALLOWED
    for engine in engines:
        found = ENGINES[engine](model, feeds)
        for name, values in expected.items():
            assert found[name].dtype == values.dtype, engine
            np.testing.assert_array_equal(found[name], values, err_msg=engine)


@pytest.mark.parametrize("name", [name for name in SMALL if has_form(SMALL[name])])
def test_layers_give_the_integers_of_the_golden_model_in_every_engine(name):
    expect_equal(SMALL[name])


@pytest.mark.parametrize("name", [name for name in SMALL if not has_form(SMALL[name])])
def test_wider_values_are_refused_by_name(name):
    with pytest.raises(UnsupportedError, match=r"int16 values in|no MaxPool of"):
        integer_graph(SMALL[name])


def test_random_networks_give_the_integers_of_the_golden_model():
    networks = [network for network in random_networks(160) if has_form(network)]
    assert len(networks) > 20
    for network in networks:
        expect_equal(network, ("onnxruntime", "onnx.reference"))


@pytest.mark.slow
def test_many_random_networks_give_the_integers_of_the_golden_model():
    for network in random_networks(1200, 8):
        if has_form(network):
            expect_equal(network)


def test_our_own_reader_and_executor_give_the_same():
    for network in SMALL.values():
        if has_form(network):
            q = inputs_for(network)
            feeds = by_name(network.input_names, q)
            graph = read_model(checked_model(integer_graph(network), 13))
            found = evaluate(graph, feeds)
            for name, values in golden(network, q).items():
                np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize("opset", [13, 17, 18, 21, 24])
def test_newer_operator_sets_give_the_same(opset):
    network = SMALL["residual"]
    q = inputs_for(network)
    model = checked_model(integer_graph(network), opset)
    found = ENGINES["onnxruntime"](model, by_name(network.input_names, q))
    for name, values in golden(network, q).items():
        np.testing.assert_array_equal(found[name], values)
