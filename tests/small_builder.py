"""Tensors and layers of a small network under construction, with random numbers in them."""

from collections.abc import Sequence

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.integer import layers as il
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.integer.requantization import HALF_EVEN, HALF_UP, Requantization
from aidge_quant.integer.tensors import IntegerTensor

Shape = tuple[int, ...]


class Builder:
    """Collects tensors and layers of a network, in order."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.tensors: list[IntegerTensor] = []
        self.layers: list[il.Layer] = []
        self.inputs: list[str] = []

    def tensor(self, name: str, shape: Shape, type_: dtype = dtype.int8, zero: int = 0) -> str:
        if len(shape) == 3:
            onnx_shape, layout = (shape[2], shape[0], shape[1]), (1, 2, 0)
        else:
            onnx_shape, layout = shape, tuple(range(len(shape)))
        self.tensors.append(IntegerTensor(name, shape, type_, 0.25, zero, onnx_shape, layout))
        return name

    def input(self, shape: Shape, type_: dtype = dtype.int8, zero: int = 0) -> str:
        self.inputs.append(self.tensor(f"in{len(self.inputs)}", shape, type_, zero))
        return self.inputs[-1]

    def add(
        self,
        cls: type[il.Layer],
        inputs: Sequence[str],
        shape: Shape,
        type_: dtype = dtype.int8,
        zero: int = 0,
        **fields: object,
    ) -> str:
        number = len(self.layers)
        output = self.tensor(f"t{number}", shape, type_, zero)
        name = f"{cls.__name__.lower()}/{number}"
        self.layers.append(cls(name, tuple(inputs), output, (name,), **fields))
        return output

    def requantization(
        self,
        channels: int = 1,
        shift: tuple[int, int] = (9, 11),
        type_: dtype = dtype.int8,
        *,
        multiplier: bool = False,
        even: bool = False,
        offset: int = 0,
    ) -> Requantization:
        shifts = self.random.integers(shift[0], shift[1] + 1, channels).astype(np.int8)
        factors = None
        if multiplier:
            factors = self.random.integers(2**30, 2**31, channels).astype(np.int32)
            shifts = (shifts + 31).astype(np.int8)
        rounding = HALF_EVEN if even else HALF_UP
        return Requantization(shifts, factors, offset, type_.min, type_.max, rounding)

    def affine(
        self,
        shape: Shape,
        channels: int,
        *,
        weights: dtype = dtype.int8,
        requantization: Requantization | None = None,
    ) -> dict[str, object]:
        largest = {dtype.int4: 7, dtype.int8: 127, dtype.int16: 3000}[weights]
        weight = self.random.integers(-largest, largest + 1, shape).astype(weights.numpy)
        return {
            "weight": weight,
            "weight_dtype": weights,
            "bias": self.random.integers(-3000, 3000, channels).astype(np.int32),
            "requantization": requantization or self.requantization(),
        }

    def network(self, *outputs: str, name: str = "small") -> IntegerNetwork:
        return IntegerNetwork(
            name=name,
            tensors=tuple(self.tensors),
            layers=tuple(self.layers),
            inputs=tuple(self.inputs),
            outputs=outputs,
            input_names=tuple(f"in:{i}" for i in range(len(self.inputs))),
            output_names=tuple(f"out:{i}" for i in range(len(outputs))),
        )


def window_shape(
    shape: Shape, kernel: Shape, stride: Shape, dilation: Shape, padding: Shape
) -> Shape:
    return tuple(
        (shape[i] + padding[i] + padding[i + 2] - dilation[i] * (kernel[i] - 1) - 1) // stride[i]
        + 1
        for i in range(2)
    )
