"""Hypothesis strategies for integer networks, and inputs for them.

``integer_networks()`` draws graphs of any layers, ``single_layer_networks(Convolution)`` one layer
of a class; what they draw passes the checker. ``inputs_for`` makes a batch with both extremes.
"""

import dataclasses

import numpy as np
from hypothesis import strategies as st
from random_builder import Builder
from random_layers import RANDOM

from aidge_quant.dtypes import dtype
from aidge_quant.integer.layers import LAYERS, FullyConnected, Layer
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.integer.tensors import IntegerTensor

# Tensors grow with concatenations and paddings; above this size no layer is added to them.
LARGEST = 600


def _finished(b: Builder, outputs: list[str]) -> IntegerNetwork:
    tensors = dict(b.tensors)
    for name in outputs:
        # Channels of their own scale are allowed at outputs only.
        if name not in b.inputs and b.chance(4):
            scale = b.rng.uniform(0.01, 2.0, tensors[name].channels)
            tensors[name] = dataclasses.replace(tensors[name], scale=scale)
    return IntegerNetwork(
        name="random",
        tensors=tuple(tensors.values()),
        layers=tuple(b.layers),
        inputs=tuple(b.inputs),
        outputs=tuple(outputs),
        input_names=tuple(f"in{i}" for i in range(len(b.inputs))),
        output_names=tuple(f"out{i}" for i in range(len(outputs))),
        metadata={"producer": "random"},
    )


@st.composite
def integer_networks(draw, max_layers: int = 6, kinds: tuple[type[Layer], ...] = LAYERS):
    """Draw a network of 1 to ``max_layers`` layers of these classes.

    Layers read any tensor before them, so that residual and branched graphs come up. Outputs are
    the tensors that nothing reads, and now and then one that is read.
    """
    b = Builder(draw)
    b.input(b.image_shape())
    for _ in range(b.between(1, max_layers)):
        RANDOM[b.one_of(kinds)](b)
        if max(tensor.size for tensor in b.tensors.values()) > LARGEST:
            break
    read = {name for layer in b.layers for name in layer.inputs}
    outputs = [name for name in b.tensors if name not in read]
    if b.chance(4):
        outputs.append(b.one_of(b.tensors))
    return _finished(b, outputs)


@st.composite
def single_layer_networks(draw, kind: type[Layer]):
    """Draw a network of one layer of a class.

    A class that moves values of any type may get a fully connected layer with int32 outputs in
    front of it.
    """
    b = Builder(draw)
    layer = RANDOM[kind]
    if kind not in _ARITHMETIC and b.chance(3):
        RANDOM[FullyConnected](b)
    layer(b)
    return _finished(b, [b.layers[-1].output])


_ARITHMETIC = tuple(
    kind
    for kind in LAYERS
    if kind.kernel not in ("reshape", "transpose", "slice", "pad", "concat", "resize", "argmax")
)


def inputs_for(network: IntegerNetwork, batch: int = 3, seed: int = 0):
    """Return what ``network.run`` takes: integers over the whole range of each input's type.

    In a batch of three or more the first element is the smallest value everywhere and the second
    the largest; the others are random.
    """
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, tensor_name in zip(network.input_names, network.inputs, strict=True):
        arrays[name] = _values(rng, network.tensor(tensor_name), batch)
    return next(iter(arrays.values())) if len(arrays) == 1 else arrays


def _values(rng: np.random.Generator, tensor: IntegerTensor, batch: int) -> np.ndarray:
    kind: dtype = tensor.dtype
    shape = (batch, *tensor.onnx_shape)
    values = rng.integers(kind.min, kind.max + 1, shape).astype(kind.numpy)
    if batch >= 3:
        values[0], values[1] = kind.min, kind.max
    return values
