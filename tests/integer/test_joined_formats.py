"""Tensors that a Concat joins are stored in one way, whatever clips are fused before it."""

import dataclasses

import numpy as np
import pytest
from float_networks import Net, samples

import aidge_quant as aq
from aidge_quant.dtypes import dtype
from aidge_quant.integer.layers import Concat as ConcatLayer
from aidge_quant.ops import Clip, Concat, ReLU

#: What stands behind the first and the second of the joined layers.
CLIPS = {
    "ReLU and nothing": (ReLU(), None),
    "nothing and ReLU": (None, ReLU()),
    "low Clip and ReLU": (Clip(0.0, 0.2), ReLU()),
    "Clip below 0 and ReLU": (Clip(-0.3, 0.4), ReLU()),
}

#: Options of the published pipeline, as far as they decide how tensors are stored.
PIPELINE = {
    "shift": {"single_shift": True},
    "shift, signs": {"single_shift": True, "optimize_signs": True},
    "multiplier, signs": {"optimize_signs": True},
}


def joined(first, second):
    """Return two layers, what stands behind each, and a layer that reads both."""
    net = Net((2, 5, 5), 8)
    start = net.graph.inputs[0]
    ends = []
    for name, clip in (("first", first), ("second", second)):
        end = net.conv(name, (2, 3), source=start)
        ends.append(net.add(clip, f"{name}_clip") if clip else end)
    net.add(Concat(1), "concat", *ends)
    net.conv("tail", (6, 2), 1)
    return net.done()


def expect_agreement(graph, network, x, folder):
    """Compare graph, golden model and C on every output value."""
    q = network.quantize_input(x)
    golden = network.run(q)
    executed = aq.run(graph, q if graph.inputs[0].operator.element_type.is_integer else x)
    zero_point = network.tensor(network.outputs[0]).zero_point
    assert np.array_equal(golden.astype(np.int64) - zero_point, executed)
    aq.export_c(network, folder, name="net", test_inputs=q[:2])
    check = aq.verify_c(folder, network, q)
    assert check.identical == check.total > 0


@pytest.mark.parametrize("form", PIPELINE)
@pytest.mark.parametrize("clips", CLIPS)
def test_the_published_pipeline_joins_clipped_and_other_tensors(clips, form, tmp_path):
    graph = joined(*CLIPS[clips])
    x = samples(graph)
    aq.auto_assign_node_precision(graph, dtype.int8, dtype.int8, dtype.int32)
    aq.quantize_network(graph, x, **PIPELINE[form])
    expect_agreement(graph, aq.lower(graph), x, tmp_path / "net")


@pytest.mark.parametrize("clips", CLIPS)
def test_the_recipe_joins_clipped_and_other_tensors(clips, tmp_path):
    graph = joined(*CLIPS[clips])
    x = samples(graph, 32)
    result = aq.quantize(graph, x, effort="fast")
    expect_agreement(result.graph, result.network, x, tmp_path / "net")


def test_a_fused_relu_leaves_the_zero_point_of_its_interval():
    graph = joined(ReLU(), None)
    x = samples(graph, 32)
    result = aq.quantize(graph, x, effort="fast")
    first, second = (result.graph.node(f"{name}_Scaling") for name in ("first", "second"))
    for node in (first, second):
        changes = {"clip": (-100, 155), "element_type": dtype.int16}
        node.operator = dataclasses.replace(node.operator, **changes)
    network = aq.lower(result.graph)
    (layer,) = (layer for layer in network.layers if isinstance(layer, ConcatLayer))
    parts = [network.tensor(name) for name in layer.inputs]
    assert [part.zero_point for part in parts] == [-28, -28]
    written = {layer.output: layer.requantization for layer in network.layers[:2]}
    assert [written[part.name].lower for part in parts] == [-28, -128]
    real = aq.run(result.graph, x)
    q = network.quantize_input(x)
    assert np.array_equal(network.run(q).astype(np.int64), real)
