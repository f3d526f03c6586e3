"""Layers that only move values: each is a walk over two arrays with a step for every axis."""

from collections.abc import Sequence

import numpy as np

from aidge_quant.export.program import Program, Walk, suffix_of, type_of
from aidge_quant.integer.layers import Concat, Layer, Pad, Slice, Transpose
from aidge_quant.integer.tensors import IntegerTensor


def strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the distance, in elements, between neighbours along each axis of a dense array."""
    inner = [int(np.prod(shape[axis + 1 :], dtype=np.int64)) for axis in range(len(shape))]
    return tuple(inner)


def merge(walk: Walk) -> Walk:
    """Return the same walk over as few axes as it takes, one at least."""
    axes: list[tuple[int, int, int]] = []
    for size, x_step, y_step in zip(walk.size, walk.x_step, walk.y_step, strict=True):
        if size == 1:
            continue
        if axes and axes[-1][1] == size * x_step and axes[-1][2] == size * y_step:
            axes[-1] = (axes[-1][0] * size, x_step, y_step)
        else:
            axes.append((size, x_step, y_step))
    axes = axes or [(1, 1, 1)]
    sizes, x_steps, y_steps = (tuple(axis[i] for axis in axes) for i in range(3))
    return Walk(sizes, x_steps, y_steps, walk.x_start, walk.y_start)


def add_transpose(layer: Transpose, program: Program) -> None:
    """Add the call of a Transpose."""
    x, y = program.network.tensor(layer.inputs[0]), program.network.tensor(layer.output)
    steps = strides(x.shape)
    walk = Walk(y.shape, tuple(steps[axis] for axis in layer.permutation), strides(y.shape))
    _add_walk(program, layer, walk, x, "walk")


def add_slice(layer: Slice, program: Program) -> None:
    """Add the call of a Slice."""
    x, y = program.network.tensor(layer.inputs[0]), program.network.tensor(layer.output)
    steps = strides(x.shape)
    walk = Walk(
        y.shape,
        tuple(a * b for a, b in zip(steps, layer.steps, strict=True)),
        strides(y.shape),
        x_start=sum(a * b for a, b in zip(steps, layer.starts, strict=True)),
    )
    flat = merge(walk)
    if flat.x_step != (1,) or not program.lies(y.name, x.name, walk.x_start):
        _add_walk(program, layer, walk, x, "walk")


def add_pad(layer: Pad, program: Program) -> None:
    """Add the calls of a Pad: fill the output, then copy the input into it if it is not there."""
    x, y = program.network.tensor(layer.inputs[0]), program.network.tensor(layer.output)
    steps = strides(y.shape)
    start = sum(a * b for a, b in zip(steps, layer.before, strict=True))
    walk = Walk(x.shape, strides(x.shape), steps, y_start=start)
    fields = {"x": type_of(x), "y": type_of(y)}
    whole = ((0, y.size),)
    there = merge(walk).y_step == (1,) and program.lies(x.name, y.name, start)
    for first, end in ((0, start), (start + x.size, y.size)) if there else whole:
        if first < end:
            arguments = (end - first, layer.value, program.pointer(y.name, first))
            program.call("fill", suffix_of(x), fields, arguments)
    if not there:
        _add_walk(program, layer, walk, x, "walk")


def add_concat(layer: Concat, program: Program) -> None:
    """Add the calls of a Concat, one for each input that is not written where it belongs."""
    steps = strides(program.network.tensor(layer.output).shape)
    start = 0
    for position, name in enumerate(layer.inputs):
        x = program.network.tensor(name)
        at = start * steps[layer.axis]
        walk = Walk(x.shape, strides(x.shape), steps, y_start=at)
        if merge(walk).y_step != (1,) or not program.lies(name, layer.output, at):
            _add_walk(program, layer, walk, x, f"walk{position}")
        start += x.shape[layer.axis]


def add_copy(program: Program, tensor: IntegerTensor, source: str, target: str) -> None:
    """Add the call that copies a whole tensor."""
    fields = {"x": type_of(tensor), "y": type_of(tensor)}
    program.call("move", suffix_of(tensor), fields, (tensor.size, source, target))


def _add_walk(program: Program, layer: Layer, walk: Walk, x: IntegerTensor, suffix: str) -> None:
    record = program.walk(layer, suffix, merge(walk))
    target = program.pointer(layer.output)
    fields = {"x": type_of(x), "y": type_of(x)}
    program.call("copy", suffix_of(x), fields, (record, program.pointer(x.name), target))
