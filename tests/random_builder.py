"""Tensors and layers of a random network under construction, and the draws that make them."""

import dataclasses
from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from aidge_quant.dtypes import dtype
from aidge_quant.integer.layers import Layer
from aidge_quant.integer.requantization import HALF_EVEN, HALF_UP, Requantization
from aidge_quant.integer.tensors import IntegerTensor

SCALES = (0.5, 1 / 127, 0.0236, 3.0)
DATA = (dtype.int8, dtype.int16)
STORED = (dtype.int8, dtype.int8, dtype.int8, dtype.int16, dtype.int32)
# Accumulators are drawn below half of the limit, so that biases fit on top.
ROOM = 1 << 30


class Builder:
    """Tensors and layers of a network under construction, and the draws that make them."""

    def __init__(self, draw: Callable) -> None:
        self.draw = draw
        self.tensors: dict[str, IntegerTensor] = {}
        self.layers: list[Layer] = []
        self.inputs: list[str] = []
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def one_of(self, values):
        return self.draw(st.sampled_from(list(values)))

    def between(self, lower: int, upper: int) -> int:
        return self.draw(st.integers(lower, upper))

    def chance(self, out_of: int) -> bool:
        return self.between(1, out_of) == out_of

    def tensor(self, shape, kind: dtype, like: IntegerTensor | None = None) -> IntegerTensor:
        """Add a tensor; scale and zero point are those of ``like``, else drawn."""
        name = f"t{len(self.tensors)}"
        shape = tuple(int(size) for size in shape)
        onnx_shape, layout = shape, tuple(range(len(shape)))
        if len(shape) == 3:
            height, width, channels = shape
            onnx_shape, layout = (channels, height, width), (1, 2, 0)
            if height == 1 and self.chance(2):
                onnx_shape, layout = (channels, width), (1, 0)
        if like is None:
            scale = self.one_of(SCALES)
            zero = self.one_of((0, -128, 127, self.between(-128, 127)))
            zero = zero if kind is dtype.int8 else 0
        else:
            scale, zero = like.scale, like.zero_point
        tensor = IntegerTensor(name, shape, kind, scale, zero, onnx_shape, layout)
        self.tensors[name] = tensor
        return tensor

    def input(self, shape, kind: dtype | None = None) -> IntegerTensor:
        """Add a network input."""
        if self.layers:  # inputs come first: remember the layers' tensors, put them behind
            later = {n: t for n, t in self.tensors.items() if n not in self.inputs}
            tensor = self.tensor(shape, kind or self.one_of(DATA))
            kept = {n: self.tensors[n] for n in self.inputs}
            self.tensors = {**kept, tensor.name: tensor, **later}
        else:
            tensor = self.tensor(shape, kind or self.one_of(DATA))
        self.inputs.append(tensor.name)
        return tensor

    def image_shape(self) -> tuple[int, int, int]:
        return self.between(1, 6), self.between(1, 6), self.between(1, 6)

    def pick(self, accept: Callable[[IntegerTensor], bool], kind: dtype | None = None):
        """Return a tensor that is accepted, or a new image as network input."""
        candidates = [t for t in reversed(self.tensors.values()) if accept(t)]
        return self.one_of(candidates) if candidates else self.input(self.image_shape(), kind)

    def any(self) -> IntegerTensor:
        return self.pick(lambda t: True)

    def data(self) -> IntegerTensor:
        return self.pick(lambda t: t.dtype in DATA)

    def image(self) -> IntegerTensor:
        return self.pick(lambda t: t.dtype in DATA and len(t.shape) == 3)

    def add(self, cls: type[Layer], inputs, output: IntegerTensor, **fields) -> None:
        name = f"{cls.__name__.lower()}_{len(self.layers)}"
        names = tuple(tensor.name for tensor in inputs)
        self.layers.append(cls(name, names, output.name, (name,), **fields))

    # -- what layers with arithmetic end in ------------------------------------------------

    def capped(self, step: Requantization, channels: int, output: IntegerTensor):
        """Return the requantization, now and then with an upper bound for every channel."""
        if not self.chance(4):
            return step
        caps = self.rng.integers(step.lower, output.dtype.max, channels, endpoint=True)
        return dataclasses.replace(step, upper=caps.astype(np.int32))

    def finish(self, bound: int, channels: int, output: IntegerTensor):
        """Return constants to add to the bias (channels,) and a requantization."""
        count = channels if channels > 1 and self.chance(2) else 1
        rounding = self.one_of((HALF_UP, HALF_UP, HALF_EVEN))
        lower, upper = self.clip(output)
        usual = max(0, int(bound).bit_length() - output.dtype.bits - 1)
        if self.chance(3):
            centre = max(1, min(62, 30 + usual + self.between(-3, 3)))
            centre = self.between(1, 62) if self.chance(4) else centre
            shift = np.clip(centre + self.rng.integers(-2, 3, count), 1, 62).astype(np.int8)
            multiplier = self.rng.integers(1 << 30, 1 << 31, count).astype(np.int32)
            if self.chance(3):
                multiplier[:] = 1 << 30  # a power of two: ties come up
            step = Requantization(shift, multiplier, output.zero_point, lower, upper, rounding)
            return np.zeros(channels, np.int64), step
        least = min(0, max(-8, int(bound).bit_length() - 29))  # lower, and int32 is left
        centre = self.one_of(
            (usual + self.between(-2, 2), self.between(least, 24), self.between(least, 0))
        )
        spread = self.rng.integers(-2, 3, count) if count > 1 else np.zeros(1, int)
        shift = np.clip(centre + spread, least, 24).astype(np.int8)
        wide = np.broadcast_to(shift, channels).astype(np.int64)
        if rounding == HALF_EVEN or shift.min() < 0:
            extra = np.zeros(channels, np.int64)
            if rounding == HALF_UP:
                extra += np.where(wide > 0, 1 << np.maximum(wide - 1, 0), 0)
            offset = output.zero_point
        else:
            extra = np.where(wide > 0, 1 << np.maximum(wide - 1, 0), 0)
            zero = output.zero_point << wide
            extra += np.where(np.abs(zero) < ROOM // 4, zero, 0)
            offset = 0
        return extra, Requantization(shift, None, offset, lower, upper, rounding)

    def clip(self, output: IntegerTensor) -> tuple[int, int]:
        kind, zero = output.dtype, output.zero_point
        some = sorted((self.between(kind.min, kind.max), self.between(kind.min, kind.max)))
        return self.one_of(
            ((kind.min, kind.max), (kind.min, kind.max), (zero, kind.max), tuple(some))
        )


def reach(tensor: IntegerTensor, zero: int = 0) -> int:
    return max(abs(tensor.dtype.min - zero), abs(tensor.dtype.max - zero))
