"""A small integer network with a residual Add, for the tests that break, store or feed one."""

import dataclasses

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.integer.layers import (
    Add,
    AveragePool,
    Convolution,
    FullyConnected,
)
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.integer.requantization import Requantization
from aidge_quant.integer.tensors import IntegerTensor


def step(shift: int = 6, lower: int = -128, upper: int = 127) -> Requantization:
    return Requantization(np.array([shift], np.int8), None, 0, lower, upper)


def image(name: str, zero_point: int = 0) -> IntegerTensor:
    return IntegerTensor(name, (4, 5, 3), dtype.int8, 1 / 127, zero_point, (3, 4, 5), (1, 2, 0))


def network(**changes) -> IntegerNetwork:
    """Return conv -> add(input) -> pool -> fc with int32 outputs, with fields replaced."""
    rng = np.random.default_rng(5)
    conv = Convolution(
        "conv",
        ("x",),
        "c",
        ("conv", "relu"),
        rng.integers(-127, 128, (3, 3, 3, 3)).astype(np.int8),
        dtype.int8,
        rng.integers(-500, 500, 3).astype(np.int32),
        Requantization(np.array([8, 9, 10], np.int8), None, 0, -128, 127),
        (1, 1),
        (1, 1),
        (1, 1, 1, 1),
        1,
        0,
    )
    add = Add("add", ("c", "x"), "a", ("add",), (1, 1), 1, step(1))
    window = ((4, 5), (1, 1), (0, 0, 0, 0), False, 0, 8)
    pool = AveragePool("pool", ("a",), "p", ("pool",), *window, -128, 127, step(4))
    weight = rng.integers(-127, 128, (2, 3)).astype(np.int8)
    bias = np.array([3, -4], np.int32)
    wide = step(0, dtype.int32.min, dtype.int32.max)
    fc = FullyConnected("fc", ("p",), "y", ("fc",), weight, dtype.int8, bias, wide)
    pooled = IntegerTensor("p", (1, 1, 3), dtype.int8, 0.1, 0, (3, 1, 1), (1, 2, 0))
    logits = IntegerTensor("y", (2,), dtype.int32, np.array([0.5, 0.25]), 0, (2,), (0,))
    fields = {
        "name": "tiny",
        "tensors": (image("x"), image("c"), image("a"), pooled, logits),
        "layers": (conv, add, pool, fc),
        "inputs": ("x",),
        "outputs": ("y",),
        "input_names": ("image",),
        "output_names": ("logits",),
        "metadata": {"producer": "test"},
    }
    return IntegerNetwork(**(fields | changes))


def with_layer(name: str, **changes) -> IntegerNetwork:
    """Return the network with fields of one layer replaced."""
    layers = tuple(
        dataclasses.replace(layer, **changes) if layer.name == name else layer
        for layer in network().layers
    )
    return network(layers=layers)


def with_tensor(name: str, **changes) -> IntegerNetwork:
    """Return the network with fields of one tensor replaced."""
    tensors = tuple(
        dataclasses.replace(tensor, **changes) if tensor.name == name else tensor
        for tensor in network().tensors
    )
    return network(tensors=tensors)
