"""The QDQ form: one shift gives the integers of the golden model in every engine."""

import dataclasses
import json

import numpy as np
import pytest
from export_cases import random_networks
from onnx_engines import ENGINES, checked_model, golden, integers_of, real_inputs
from random_networks import inputs_for
from small_networks import SMALL_NETWORKS, small_network

from aidge_quant.dtypes import dtype
from aidge_quant.errors import UnsupportedError
from aidge_quant.executor import evaluate
from aidge_quant.integer.layers import Affine, ArgMax, AveragePool
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.interchange.metadata import REQUANTIZATION
from aidge_quant.interchange.qdq.ends import nudge
from aidge_quant.interchange.qdq.form import qdq_graph
from aidge_quant.interchange.qdq.sheet import POWER_OF_TWO, REAL, QdqOptions
from aidge_quant.onnx_io import to_model
from aidge_quant.ops import DequantizeLinear

INT32 = dtype.int32

SMALL = {name: small_network(name) for name in SMALL_NETWORKS}

#: Scales by channel of a grouped transposed convolution have no form.
WITHOUT_FORM = {"transposed_padded"}


def is_exact(network: IntegerNetwork) -> bool:
    """Whether engines must give every integer: 8 bits, one shift, accumulators below 2**24."""
    if any(tensor.dtype is dtype.int16 for tensor in network.tensors):
        return False
    for layer in network.layers:
        form = getattr(layer, "requantization", None)
        if form is not None and (
            form.multiplier is not None
            or form.rounding != "half_up"
            or int(form.shift.min()) < 0
            or int(form.shift.max()) > 14
        ):
            return False
        if form is not None and form.shift.any() and network.tensor(layer.output).dtype is INT32:
            return False  # real outputs are not rounded
        if isinstance(layer, AveragePool) and layer.count_include_pad and any(layer.padding):
            return False  # positions outside are 0, so that the mean cannot be lifted
    return True


def found_integers(network, graph, engine, q):
    return integers_of(network, engine(graph, real_inputs(network, q)))


def run_ours(graph, feeds):
    return evaluate(graph, feeds)


SINGLE = [name for name in SMALL if len(SMALL[name].layers) == 1]
EXACT = [name for name in SMALL if name not in WITHOUT_FORM and is_exact(SMALL[name])]


@pytest.mark.parametrize("unsigned", [False, True])
@pytest.mark.parametrize("name", EXACT)
def test_layers_with_one_shift_give_the_integers_of_the_golden_model(name, unsigned):
    network = SMALL[name]
    q = inputs_for(network)
    model = checked_model(qdq_graph(network, QdqOptions(unsigned=unsigned)), 21)
    for engine in ("onnxruntime", "onnx.reference"):
        found = found_integers(network, model, ENGINES[engine], q)
        for output, values in golden(network, q).items():
            np.testing.assert_array_equal(found[output], values, err_msg=engine)


def test_there_are_enough_exact_layers():
    assert len(EXACT) > 30


@pytest.mark.parametrize("scales", [POWER_OF_TWO, REAL])
@pytest.mark.parametrize(
    "name", [n for n in SMALL if n not in WITHOUT_FORM and len(SMALL[n].layers) == 1]
)
def test_single_layers_differ_by_one_at_most(name, scales):
    network = SMALL[name]
    q = inputs_for(network)
    graph = qdq_graph(network, QdqOptions(scales=scales))
    found = found_integers(network, graph, run_ours, q)
    for output, values in golden(network, q).items():
        limit = np.maximum(1, np.abs(values.astype(np.float64)) * 1e-6)
        assert (np.abs(found[output] - values) <= limit).all()


def test_random_networks_with_one_shift_give_the_integers():
    checked = 0
    for network in random_networks(250):
        if not is_exact(network) or any(isinstance(la, ArgMax) for la in network.layers):
            continue
        q = inputs_for(network)
        try:
            graph = qdq_graph(network, QdqOptions())
        except UnsupportedError:
            continue
        found = found_integers(network, graph, run_ours, q)
        for output, values in golden(network, q).items():
            if values.dtype == np.int8:
                np.testing.assert_array_equal(found[output], values)
                checked += 1
    assert checked > 40


WIDE = [name for name in SMALL if "int16" in name]


@pytest.mark.parametrize("name", WIDE)
def test_sixteen_bit_values_run_in_onnx_runtime(name):
    network = SMALL[name]
    q = inputs_for(network)
    model = checked_model(qdq_graph(network, QdqOptions()), 21)
    for engine in ("onnxruntime", "onnxruntime optimized"):
        found = found_integers(network, model, ENGINES[engine], q)
        for output, values in golden(network, q).items():
            limit = np.maximum(1, np.abs(values.astype(np.float64)) * 1e-6)
            assert (np.abs(found[output] - values) <= limit).all(), engine


def test_half_even_networks_equal_engines_that_round_ties_to_even():
    for name in ("conv_even", "fc_even", "add_even"):
        network = SMALL[name]
        q = inputs_for(network)
        model = checked_model(qdq_graph(network, QdqOptions()), 21)
        for engine, run in ENGINES.items():
            found = found_integers(network, model, run, q)
            for output, values in golden(network, q).items():
                np.testing.assert_array_equal(found[output], values, err_msg=engine)


def test_weights_of_six_bits_give_odd_accumulators():
    network = SMALL["conv_int4"]
    (layer,) = (la for la in network.layers if isinstance(la, Affine))
    graph = qdq_graph(network, QdqOptions(scales=REAL))
    weights = graph.node(f"{layer.name}_weight").operator
    assert weights.element_type is dtype.int8
    np.testing.assert_array_equal(weights.value % 2, 0)
    assert np.abs(weights.value).max() == 2 * np.abs(layer.weight).max()
    np.testing.assert_array_equal(graph.node(f"{layer.name}_bias").operator.value % 2, 1)
    q = inputs_for(network)
    model = checked_model(graph, 21)
    for engine, run in ENGINES.items():
        found = found_integers(network, model, run, q)
        for output, values in golden(network, q).items():
            np.testing.assert_array_equal(found[output], values, err_msg=engine)


def test_four_bit_weights_stay_four_bits_with_powers_of_two():
    network = SMALL["conv_int4"]
    graph = qdq_graph(network, QdqOptions())
    kinds = {node.operator.element_type for node in graph.nodes if node.type == "Producer"}
    assert dtype.int4 in kinds


def test_a_nudge_moves_ties_and_nothing_else():
    for shift in range(1, 15):
        amount = nudge(2.0**-shift)
        scale = np.float32(1 - amount)
        steps = np.arange(0, 256 << shift, max(1, (256 << shift) // 200_000))
        ties = np.arange(1 << (shift - 1), 256 << shift, 1 << shift)
        acc = np.concatenate([steps, ties, ties - 1, ties + 1]).astype(np.int64)
        v = np.ldexp(acc.astype(np.float32), -shift) / scale
        assert v.dtype == np.float32
        np.testing.assert_array_equal(
            np.rint(v).astype(np.int64), (acc + (1 << (shift - 1))) >> shift
        )


def test_sums_with_large_multipliers_have_no_ties_either():
    network = SMALL["add"]
    (layer,) = network.layers
    first, second = (network.tensor(name) for name in layer.inputs)
    target = network.tensor(layer.output)
    factors, shift = (8192, 16384), 15
    zeros = factors[0] * first.zero_point + factors[1] * second.zero_point
    bias = (1 << (shift - 1)) + (target.zero_point << shift) - zeros
    end = dataclasses.replace(layer.requantization, shift=np.array([shift], np.int8), offset=0)
    wide = dataclasses.replace(layer, multipliers=factors, bias=bias, requantization=end)
    network = dataclasses.replace(network, layers=(wide,))
    q = inputs_for(network, 50)
    model = checked_model(qdq_graph(network, QdqOptions()), 21)
    for engine, run in ENGINES.items():
        found = found_integers(network, model, run, q)
        for output, values in golden(network, q).items():
            np.testing.assert_array_equal(found[output], values, err_msg=engine)


def test_metadata_holds_the_numbers_of_every_layer():
    network = SMALL["residual"]
    graph = qdq_graph(network, QdqOptions())
    steps = json.loads(graph.metadata[REQUANTIZATION])
    quantizers = {node.name for node in graph.nodes if node.type == "QuantizeLinear"}
    assert quantizers <= set(steps)
    model = to_model(graph, opset=21)
    stored = {prop.key: prop.value for prop in model.metadata_props}
    assert stored["aidge_quant.contract"] == "1"
    assert stored["aidge_quant.digest"] == network.digest
    tensors = json.loads(stored["aidge_quant.tensors"])
    assert set(tensors) == {tensor.name for tensor in network.tensors}
    assert model.producer_name == "aidge_quant"


def test_scales_inside_are_powers_of_two_and_the_ends_are_real():
    network = SMALL["residual"]
    graph = qdq_graph(network, QdqOptions())
    ends = {output.port.node for output in graph.outputs}
    for node in graph.nodes:
        if isinstance(node.operator, DequantizeLinear) and node not in ends:
            mantissa, _ = np.frexp(node.input(1).node.operator.value)
            np.testing.assert_array_equal(mantissa, 0.5)


def test_a_form_that_cannot_be_said_is_refused_by_name():
    with pytest.raises(UnsupportedError, match=r"TransposedConvolution\): a grouped transposed"):
        qdq_graph(SMALL["transposed_padded"], QdqOptions())
