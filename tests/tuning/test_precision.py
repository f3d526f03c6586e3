"""Bits by tensor and by layer: what binds them, what they bring, and that sums stay in int32."""

import numpy as np
import pytest
from graph_cases import CASES, Drawing

import aidge_quant as aq
from aidge_quant.integer.layers import Affine
from aidge_quant.ops import (
    FC,
    Add,
    Concat,
    Flatten,
    GlobalAveragePool,
    Mul,
    ReLU,
    Sigmoid,
    producer,
)
from aidge_quant.ptq import prepare_network
from aidge_quant.tuning.precision import agreed_bits, joined_groups
from aidge_quant.tuning.realize import integer_network
from aidge_quant.tuning.scheme import Scheme
from aidge_quant.tuning.skeleton import build_skeleton
from aidge_quant.tuning.statistics import grouped, observe

BITS = {8: aq.dtype.int8, 16: aq.dtype.int16}


def samples(graph, count, seed):
    shape = graph.inputs[0].operator.shape[1:]
    return np.random.default_rng(seed).uniform(-1, 1, (count, *shape)).astype(np.float32)


def sqnr(network, graph, x):
    real = network.dequantize_output(network.run(network.quantize_input(x)))
    expected = aq.run(graph, x)
    return 10 * np.log10(np.square(expected).sum() / np.square(real - expected).sum())


def with_a_table():
    """Return a network whose table must be int8 while the rest can be int16."""
    d = Drawing("with_a_table")
    x = d.then(ReLU(), d.conv(d.input(3, 6, 6), 4, 3))
    y = d.then(ReLU(), d.conv(x, 4, 4))
    z = d.then(ReLU(), d.conv(d.then(Concat(1), x, y), 4, 8))
    z = d.then(Flatten(), d.then(GlobalAveragePool(), d.then(Add(), z, y)))
    return d.done(d.fc(d.then(Sigmoid(), d.fc(z, 8, 4)), 5, 8))


def with_a_product():
    d = Drawing("with_a_product")
    x = d.conv(d.input(3, 6, 6), 4, 3)
    return d.done(d.conv(d.then(Mul(), x, d.conv(x, 4, 4)), 2, 4))


GRAPHS = {
    **{name: CASES[name] for name in ("chain", "residual", "concatenation", "difference")},
    "depthwise": CASES["depthwise_separable_relu6"],
    "average_pools": CASES["average_pools"],
    "transposed": CASES["transposed"],
    "with_a_product": with_a_product,
    "with_a_table": with_a_table,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPHS)
def test_sixteen_bits_bring_the_network_nearer_to_float_and_its_c_to_the_same_bits(name, tmp_path):
    graph = GRAPHS[name]()
    x, test = samples(graph, 24, 1), samples(graph, 16, 2)
    options = [{}, {"activation_bits": 16}, {"activation_bits": 16, "weight_bits": 16}]
    networks = [aq.quantize(graph, x, effort="fast", **each).network for each in options]
    if name != "with_a_table":
        levels = [sqnr(network, graph, test) for network in networks]
        assert levels[0] < levels[1] < levels[2]
    for number, network in enumerate(networks[1:]):
        q = network.quantize_input(test[:5])
        folder = tmp_path / str(number)
        aq.export_c(network, folder, name="net", test_inputs=q[:2])
        check = aq.verify_c(folder, network, q)
        assert check.identical == check.total


def test_int16_tensors_are_symmetric_and_begin_at_zero_behind_a_relu():
    graph = CASES["residual"]()
    network = aq.quantize(graph, samples(graph, 24, 1), effort="fast", activation_bits=16).network
    assert {tensor.dtype for tensor in network.tensors[:-1]} == {aq.dtype.int16}
    assert {tensor.zero_point for tensor in network.tensors} == {0}
    bounds = {(r.lower, r.upper) for r in (layer.requantization for layer in network.layers[:-1])}
    assert bounds == {(0, 32767), (-32768, 32767)}


def test_tensors_at_a_table_stay_at_eight_bits():
    graph = with_a_table()
    network = aq.quantize(graph, samples(graph, 24, 1), effort="fast", activation_bits=16).network
    table = next(layer for layer in network.layers if layer.kind == "Lookup")
    narrow = {table.inputs[0], table.output}
    for tensor in network.tensors:
        if tensor.name not in network.outputs:
            assert tensor.dtype is (aq.dtype.int8 if tensor.name in narrow else aq.dtype.int16)


def skeleton_of(graph):
    prepare_network(graph)
    return build_skeleton(graph)


def test_joined_tensors_take_the_widest_of_their_bits():
    skeleton = skeleton_of(CASES["residual"]())
    add = next(site for site in skeleton.sites.values() if site.kind == "add")
    first, second = (skeleton.sites[name].group for name in add.sources)
    bits = agreed_bits(skeleton, {first: 16})
    assert bits[first] == bits[second] == 16
    assert sum(wide == 16 for wide in bits.values()) == 2


def test_what_a_product_joins_to_a_table_stays_at_eight_bits():
    skeleton = skeleton_of(CASES["gate"]())
    bits = agreed_bits(skeleton, dict.fromkeys(skeleton.sites, 16))
    product = next(site for site in skeleton.sites.values() if site.kind == "product")
    bound = {*product.sources, product.name}
    assert {name for name, found in bits.items() if found == 8} >= bound
    assert 16 in bits.values()


def test_every_group_is_in_one_set():
    for name in CASES:
        skeleton = skeleton_of(CASES[name]())
        members = [group for joined in joined_groups(skeleton) for group in joined]
        assert sorted(members) == sorted({site.group for site in skeleton.sites.values()})


def test_layers_may_have_bits_of_their_own():
    skeleton = skeleton_of(CASES["chain"]())
    x = samples(skeleton.graph, 8, 1)
    spans = grouped(skeleton, observe(skeleton, {"input": x}).extremes)
    sites = [site.name for site in skeleton.affine]
    scheme = Scheme(spans, weight_bits=4, layer_bits={sites[0]: 16})
    layers = integer_network(skeleton, scheme).layers
    types = [layer.weight_dtype for layer in layers if isinstance(layer, Affine)]
    assert types == [aq.dtype.int16, aq.dtype.int4]


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "effort"), [(8, "balanced"), (16, "fast")])
def test_a_row_whose_sum_would_leave_int32_is_given_a_coarser_scale(bits, effort):
    d = Drawing("long_sum")
    x = d.input(800)
    weight = d.weight(3, 800).operator.value
    weight[0] = 1.0 + weight[0] / 10  # as large a sum as there can be
    rows = d.graph.add(producer(weight), (), "rows")
    x = d.graph.add(FC(), (x, rows, d.vector(3)))
    graph = d.done(d.fc(d.then(ReLU(), x), 2, 3))
    data = samples(graph, 24, 1)
    result = aq.quantize(
        graph, data, effort=effort, weight_bits=bits, activation_bits=16, per_channel=True
    )
    layer = result.network.layers[0]
    assert layer.weight_dtype is BITS[bits]
    whole = BITS[bits].max * np.abs(weight[0]).sum() / weight[0].max() * 32768
    bounds = np.abs(layer.weight.astype(np.int64)).sum(axis=1) * 32768
    bounds += np.abs(layer.bias.astype(np.int64))
    assert bounds.max() < 2**31 < whole  # which all of the bits would come to
    assert bounds[0] > 2**29  # no coarser than need be
    assert sqnr(result.network, graph, data) > 10
