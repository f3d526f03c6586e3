"""Tensors that a Concat joins: one scale and one zero point, whatever writes them."""

import float_networks
import numpy as np
import pytest
from float_networks import Net, samples

import aidge_quant as aq
from aidge_quant.ops import Add, Concat, ReLU, Tanh


def joined(kind) -> aq.GraphView:
    """A layer with values of both signs, and a tensor of another kind, joined."""
    net = Net((2, 4, 4), 3)
    other = net.last
    start = net.conv("stem", (2, 3))
    if kind == "table":
        other = net.add(Tanh(), "tanh", start)
    elif kind == "sum":
        net.add(Add(), "add", start, net.conv("second", (3, 3)))
        other = net.add(ReLU(), "relu")
    wide = net.conv("wide", (3, 2))
    net.add(Concat(1), "concat", wide, other)
    net.conv("tail", (4 if kind == "input" else 5, 3), 1)
    return net.done()


MAKERS = {
    "ReLU and none": float_networks.concat,
    **{kind: lambda kind=kind: joined(kind) for kind in ("table", "sum", "input")},
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_concat_joins_a_clipped_tensor_with_one_that_is_not(name):
    graph = MAKERS[name]()
    result = aq.quantize(graph, samples(graph, 32), effort="fast")
    network = result.network
    (concat,) = (layer for layer in network.layers if layer.kind == "Concat")
    parts = [network.tensor(part) for part in concat.inputs]
    assert len({(part.dtype, part.scale, part.zero_point) for part in parts}) == 1
    x = samples(graph, 6, seed=1)
    out = np.asarray(network.run(network.quantize_input(x))).astype(np.int64)
    zero_point = network.tensor(network.outputs[0]).zero_point
    assert np.array_equal(out - zero_point, aq.run(result.graph, x))
