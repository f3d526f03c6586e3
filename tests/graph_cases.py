"""Small float graphs, one for each thing that quantization and lowering must get right."""

from collections.abc import Callable

import numpy as np

from aidge_quant.graph import GraphView, Node
from aidge_quant.ops import (
    FC,
    Add,
    ArgMax,
    AveragePool,
    BatchNorm,
    Clip,
    Concat,
    Conv,
    ConvTranspose,
    DepthToSpace,
    Flatten,
    GlobalAveragePool,
    GlobalMaxPool,
    HardSwish,
    Input,
    LeakyReLU,
    MaxPool,
    Mul,
    Pad,
    PReLU,
    ReLU,
    Reshape,
    Resize,
    Sigmoid,
    Slice,
    SpaceToDepth,
    Sub,
    Tanh,
    Transpose,
    producer,
)

CASES: dict[str, Callable[[], GraphView]] = {}


class Drawing:
    """A graph being drawn, with random parameters seeded by its name."""

    def __init__(self, name: str) -> None:
        self.graph = GraphView(name)
        self.rng = np.random.default_rng(sum(map(ord, name)))

    def input(self, *shape: int, name: str = "input") -> Node:
        return self.graph.add_input(Input((1, *shape)), name)

    def weight(self, *shape: int) -> Node:
        spread = 1.0 / np.sqrt(np.prod(shape[1:]))
        value = self.rng.normal(0, spread, shape).astype(np.float32)
        return self.graph.add(producer(value), (), self.graph.unique_name("weight"))

    def vector(self, size: int, low: float = -0.3, high: float = 0.3) -> Node:
        value = self.rng.uniform(low, high, size).astype(np.float32)
        return self.graph.add(producer(value), (), self.graph.unique_name("vector"))

    def conv(
        self,
        x: Node,
        out: int,
        into: int,
        window: tuple[int, ...] = (3, 3),
        stride: tuple[int, ...] = (1, 1),
        padding: tuple[int, ...] = (1, 1, 1, 1),
        dilation: tuple[int, ...] = (1, 1),
        groups: int = 1,
    ) -> Node:
        weight = self.weight(out, into // groups, *window)
        operator = Conv(stride, dilation, padding, groups)
        return self.graph.add(operator, (x, weight, self.vector(out)))

    def fc(self, x: Node, out: int, into: int) -> Node:
        return self.graph.add(FC(), (x, self.weight(out, into), self.vector(out)))

    def then(self, operator, *inputs: Node) -> Node:
        return self.graph.add(operator, inputs)

    def done(self, *outputs: Node) -> GraphView:
        for number, node in enumerate(outputs):
            self.graph.add_output(node, f"output{number or ''}")
        return self.graph


def case(function: Callable[[Drawing], GraphView]) -> Callable[[Drawing], GraphView]:
    name = function.__name__
    CASES[name] = lambda: function(Drawing(name))
    return function


@case
def chain(d):
    x = d.then(ReLU(), d.conv(d.input(3, 9, 7), 8, 3))
    x = d.then(MaxPool((2, 2), (2, 2), (1, 1), (0, 0, 0, 0)), x)
    return d.done(d.fc(d.then(Flatten(), x), 5, 8 * 4 * 3))


@case
def asymmetric_pads_stride_dilation(d):
    x = d.conv(d.input(3, 11, 9), 6, 3, (3, 2), (2, 1), (0, 1, 2, 0))
    x = d.conv(d.then(ReLU(), x), 4, 6, (3, 3), (1, 1), (2, 2, 2, 2), (2, 2), groups=2)
    return d.done(x)


@case
def depthwise_separable_relu6(d):
    x = d.then(Clip(0.0, 6.0), d.conv(d.input(3, 8, 8), 8, 3))
    x = d.then(Clip(0.0, 6.0), d.conv(x, 8, 8, stride=(2, 2), groups=8))
    x = d.then(Clip(0.0, 0.9), d.conv(x, 12, 8, (1, 1), padding=(0, 0, 0, 0)))
    return d.done(d.fc(d.then(Flatten(), d.then(GlobalAveragePool(), x)), 4, 12))


@case
def residual(d):
    x = d.then(ReLU(), d.conv(d.input(3, 8, 8), 8, 3))
    y = d.conv(d.then(ReLU(), d.conv(x, 8, 8)), 8, 8)
    return d.done(d.conv(d.then(ReLU(), d.then(Add(), y, x)), 4, 8))


@case
def residual_of_two_layers(d):
    x = d.then(ReLU(), d.conv(d.input(3, 8, 8), 8, 3))
    y = d.conv(x, 6, 8, stride=(2, 2))
    z = d.conv(x, 6, 8, (1, 1), (2, 2), (0, 0, 0, 0))
    return d.done(d.then(ReLU(), d.then(Add(), y, z)))


@case
def difference(d):
    x = d.conv(d.input(3, 6, 6), 4, 3)
    return d.done(d.then(Sub(), d.conv(x, 4, 4), x))


@case
def concatenation(d):
    x = d.then(ReLU(), d.conv(d.input(3, 6, 6), 4, 3))
    y = d.then(ReLU(), d.conv(x, 6, 4))
    return d.done(d.conv(d.then(Concat(1), x, y), 5, 10))


@case
def gate(d):
    x = d.then(ReLU(), d.conv(d.input(3, 6, 6), 8, 3))
    g = d.conv(d.then(GlobalAveragePool(), x), 8, 8, (1, 1), padding=(0, 0, 0, 0))
    return d.done(d.conv(d.then(Mul(), x, d.then(Sigmoid(), g)), 4, 8))


@case
def product(d):
    x = d.conv(d.input(3, 6, 6), 4, 3)
    y = d.then(Tanh(), d.conv(x, 4, 4))
    return d.done(d.then(Mul(), x, y))


@case
def tables(d):
    x = d.then(HardSwish(), d.conv(d.input(3, 6, 6), 4, 3))
    x = d.then(LeakyReLU(0.1), d.conv(x, 4, 4))
    return d.done(d.then(Tanh(), d.conv(x, 4, 4)))


@case
def parametric_relu(d):
    x = d.conv(d.input(3, 6, 6), 4, 3)
    slope = d.graph.add(producer(d.rng.uniform(0, 0.5, (4, 1, 1)).astype(np.float32)), (), "slope")
    x = d.then(PReLU(), x, slope)
    x = d.fc(d.then(Flatten(), x), 6, 144)
    slope = d.graph.add(producer(d.rng.uniform(0, 0.5, 6).astype(np.float32)), (), "slope2")
    return d.done(d.fc(d.then(PReLU(), x, slope), 3, 6))


@case
def signal(d):
    x = d.conv(d.input(4, 20), 6, 4, (5,), (2,), (2, 1), (1,))
    x = d.then(MaxPool((2,), (2,), (1,), (0, 0)), d.then(ReLU(), x))
    x = d.conv(x, 6, 6, (3,), (1,), (1, 1), (1,), groups=6)
    x = d.then(GlobalAveragePool(), x)
    return d.done(d.fc(d.then(Flatten(), x), 3, 6))


@case
def transposed(d):
    x = d.then(ReLU(), d.conv(d.input(3, 5, 4), 4, 3))
    weight = d.weight(4, 3, 3, 2)
    operator = ConvTranspose((2, 2), (1, 1), (1, 0, 0, 1), (1, 0), 2)
    return d.done(d.graph.add(operator, (x, weight, d.vector(6))))


@case
def average_pools(d):
    x = d.then(ReLU(), d.conv(d.input(3, 9, 9), 4, 3))
    x = d.then(AveragePool((3, 3), (2, 2), (1, 1), (1, 1, 1, 1)), x)
    x = d.then(AveragePool((2, 2), (1, 1), (1, 1), (0, 1, 1, 0), count_include_pad=True), x)
    return d.done(d.conv(d.then(AveragePool((2, 3), (2, 2), (1, 1), (0, 0, 0, 0)), x), 3, 4))


@case
def ceil_mode(d):
    x = d.then(ReLU(), d.conv(d.input(3, 8, 7), 4, 3))
    x = d.then(MaxPool((3, 3), (2, 2), (1, 1), (0, 0, 0, 0), ceil=True), x)
    return d.done(
        d.conv(d.then(AveragePool((2, 2), (2, 2), (1, 1), (0, 0, 0, 0), ceil=True), x), 3, 4)
    )


@case
def global_maximum_and_index(d):
    x = d.then(GlobalMaxPool(), d.conv(d.input(3, 6, 5), 7, 3))
    x = d.fc(d.then(Flatten(), x), 9, 7)
    return d.done(d.then(ArgMax(1, False), x))


@case
def cut_and_padded(d):
    x = d.then(ReLU(), d.conv(d.input(3, 8, 8), 4, 3))
    y = d.then(Slice((0, 1), (8, 8), (2, 3), (2, 3)), x)
    y = d.then(Pad((0, 2, 1, 0), (0, 2, 0, 1)), y)
    return d.done(d.conv(y, 4, 8))


@case
def shortcut_without_parameters(d):
    x = d.then(ReLU(), d.conv(d.input(3, 8, 8), 4, 3))
    y = d.conv(x, 8, 4, stride=(2, 2))
    z = d.then(Slice((0, 0), (8, 8), (2, 3), (2, 2)), x)
    z = d.then(Pad((0, 2, 0, 0), (0, 2, 0, 0)), z)
    return d.done(d.then(ReLU(), d.then(Add(), y, z)))


@case
def resized(d):
    x = d.then(ReLU(), d.conv(d.input(3, 4, 5), 4, 3))
    x = d.then(Resize(scales=(1.0, 1.0, 2.0, 3.0), coordinates="asymmetric", nearest="floor"), x)
    return d.done(d.conv(x, 3, 4))


@case
def pixel_shuffle(d):
    x = d.conv(d.input(3, 4, 5), 12, 3)
    return d.done(d.then(DepthToSpace(2, True), x), d.then(DepthToSpace(2, False), x))


@case
def pixel_unshuffle(d):
    x = d.conv(d.input(3, 4, 6), 4, 3)
    return d.done(d.then(SpaceToDepth(2, True), x), d.conv(d.then(SpaceToDepth(2), x), 3, 16))


@case
def reordered(d):
    x = d.then(ReLU(), d.conv(d.input(3, 4, 5), 6, 3))
    y = d.then(Transpose((0, 3, 1, 2)), x)
    y = d.conv(y, 4, 5)
    z = d.then(Reshape((0, 4, 6, 4)), d.then(Transpose((0, 2, 3, 1)), y))
    return d.done(d.fc(d.then(Flatten(), z), 4, 96), z)


@case
def rows(d):
    x = d.input(7, 10)
    x = d.then(ReLU(), d.fc(x, 8, 10))
    return d.done(d.fc(x, 4, 8))


@case
def leading_batchnorm(d):
    x = d.input(3, 6, 6)
    parameters = (d.vector(3, 0.5, 1.5), d.vector(3), d.vector(3), d.vector(3, 0.5, 1.5))
    x = d.graph.add(BatchNorm(), (x, *parameters))
    return d.done(d.conv(d.then(ReLU(), x), 4, 3))


@case
def two_inputs_and_outputs(d):
    a, b = d.input(3, 6, 6, name="left"), d.input(2, 6, 6, name="right")
    x, y = d.conv(a, 4, 3), d.conv(b, 4, 2)
    total = d.then(Add(), x, y)
    return d.done(d.then(ReLU(), total), d.conv(total, 3, 4))


@case
def input_used_twice(d):
    x = d.input(3, 6, 6)
    return d.done(d.then(Add(), d.conv(x, 3, 3), x))
