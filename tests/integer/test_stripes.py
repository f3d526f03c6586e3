"""A network in stripes computes what it did, and needs less memory."""

import itertools

import numpy as np
import pytest
from fast_networks import FastBuilder
from random_networks import inputs_for

from aidge_quant.integer import layers as il
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.integer.stripes import in_stripes, stripe_chain


def chain_network(seed: int) -> IntegerNetwork:
    """Return convolutions, pools and clamps one after the other; sizes and paddings are drawn."""
    b = FastBuilder(seed)
    x = b.input((b.between(6, 14), b.between(3, 7), b.between(1, 4)), zero=b.zero())
    x = b.convolution(x, b.between(2, 5), (b.between(1, 4), b.between(1, 3)))
    x = b.depthwise(x)
    height, width, channels = b.tensors[-1].shape
    if b.between(0, 1):
        x = b.add(il.Clamp, [x], (height, width, channels), zero=b.tensors[-1].zero_point,
                  lower=-100, upper=99)  # fmt: skip
    if height > 1 and width > 1 and b.between(0, 1):
        x = b.add(
            il.MaxPool, [x], (height // 2, width // 2, channels), zero=b.tensors[-1].zero_point,
            window=(2, 2), stride=(2, 2), dilation=(1, 1), padding=(0, 0, 0, 0),
        )  # fmt: skip
    x = b.convolution(x, b.between(1, 6), (1, 1))
    return b.network(b.add(il.Clamp, [x], b.tensors[-1].shape, lower=-90, upper=90))


def cuts(height: int) -> list[tuple[int, ...]]:
    """Return the ends of some stripes: single rows, pairs, one and the rest."""
    every = tuple(range(1, height + 1))
    return [every, (*range(2, height, 2), height), (1, height) if height > 1 else (height,)]


@pytest.mark.parametrize("seed", range(30))
def test_stripes_compute_the_same(seed):
    network = chain_network(seed)
    q = inputs_for(network, 2)
    expected = network.run(q)
    chain = stripe_chain(network)
    assert len(chain) >= 3
    in_pieces = 0
    for count, layer in enumerate(chain, 1):
        for ends in cuts(network.tensor(layer.output).shape[0]):
            made = in_stripes(network, count, ends)
            assert np.array_equal(made.run(q), expected)
            if made is not network:
                in_pieces += 1
                pieces = next(x for x in made.layers if isinstance(x, il.Concat)).inputs
                sizes = [made.tensor(name).shape[0] for name in pieces]
                assert set(itertools.accumulate(sizes)) <= set(ends)
    assert in_pieces > 0
