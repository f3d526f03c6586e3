"""The smallest float networks that show a property: chain, residual, depthwise, concat ..."""

from collections.abc import Callable

import numpy as np

from aidge_quant.graph import GraphView, Node
from aidge_quant.ops import (
    FC,
    Add,
    AveragePool,
    BatchNorm,
    Clip,
    Concat,
    Conv,
    Flatten,
    GlobalAveragePool,
    Input,
    LeakyReLU,
    MaxPool,
    Mul,
    Operator,
    Pad,
    ReLU,
    Sigmoid,
    Softmax,
    Sub,
    Tanh,
    producer,
)


class Net:
    """Builds a graph node after node; random parameters come from the seed."""

    def __init__(self, shape: tuple[int, ...], seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.graph = GraphView("test")
        self.last = self.graph.add_input(Input((1, *shape)), "input")

    def constant(self, value: object, name: str) -> Node:
        return self.graph.add(producer(np.asarray(value, np.float32)), (), name)

    def add(self, operator: Operator, name: str, *inputs: Node) -> Node:
        self.last = self.graph.add(operator, inputs or (self.last,), name)
        return self.last

    def conv(
        self,
        name: str,
        channels: tuple[int, int],
        window: int = 3,
        *,
        groups: int = 1,
        stride: int = 1,
        padding: int | None = None,
        bias: bool = True,
        source: Node | None = None,
    ) -> Node:
        pad = window // 2 if padding is None else padding
        operator = Conv((stride, stride), (1, 1), (pad,) * 4, groups)
        shape = (channels[1], channels[0] // groups, window, window)
        weight = self.random.normal(0, 1, shape) / np.sqrt(np.prod(shape[1:]))
        inputs = [source or self.last, self.constant(weight, f"{name}_w")]
        if bias:
            inputs.append(self.constant(self.random.normal(0, 0.2, channels[1]), f"{name}_b"))
        return self.add(operator, name, *inputs)

    def fc(self, name: str, sizes: tuple[int, int]) -> Node:
        weight = self.random.normal(0, 1, (sizes[1], sizes[0])) / np.sqrt(sizes[0])
        bias = self.random.normal(0, 0.2, sizes[1])
        inputs = (self.constant(weight, f"{name}_w"), self.constant(bias, f"{name}_b"))
        return self.add(FC(), name, self.last, *inputs)

    def batch_norm(self, name: str, channels: int, source: Node | None = None) -> Node:
        values = {
            "scale": self.random.uniform(0.5, 2, channels),
            "bias": self.random.normal(0, 0.3, channels),
            "mean": self.random.normal(0, 0.3, channels),
            "variance": self.random.uniform(0.2, 3, channels),
        }
        parameters = [self.constant(v, f"{name}_{k}") for k, v in values.items()]
        return self.add(BatchNorm(), name, source or self.last, *parameters)

    def done(self, *outputs: Node) -> GraphView:
        for i, node in enumerate(outputs or (self.last,)):
            self.graph.add_output(node, f"output{i}" if i else "output")
        self.graph.check()
        return self.graph


def chain() -> GraphView:
    """Conv, ReLU, MaxPool, Conv, ReLU, Flatten, FC."""
    net = Net((2, 6, 6))
    net.conv("conv1", (2, 4))
    net.add(ReLU(), "relu1")
    net.add(MaxPool((2, 2), (2, 2), (1, 1), (0,) * 4), "pool")
    net.conv("conv2", (4, 5))
    net.add(ReLU(), "relu2")
    net.add(Flatten(), "flat")
    net.fc("fc", (45, 7))
    return net.done()


def residual(seed: int = 1) -> GraphView:
    """Two residual blocks, the first with an identity, the second with a 1x1 shortcut."""
    net = Net((3, 6, 6), seed)
    net.conv("stem", (3, 4))
    start = net.add(ReLU(), "stem_relu")
    net.conv("conv1", (4, 4))
    net.add(ReLU(), "relu1")
    second = net.conv("conv2", (4, 4))
    net.add(Add(), "add1", second, start)
    middle = net.add(ReLU(), "relu2")
    net.conv("conv3", (4, 6), stride=2)
    net.add(ReLU(), "relu3")
    main = net.conv("conv4", (6, 6))
    short = net.conv("shortcut", (4, 6), 1, stride=2, source=middle)
    net.add(Add(), "add2", main, short)
    net.add(ReLU(), "relu4")
    net.add(GlobalAveragePool(), "gap")
    net.add(Flatten(), "flat")
    net.fc("fc", (6, 5))
    return net.done()


def depthwise(imbalance: float = 1.0) -> GraphView:
    """Pointwise, depthwise, pointwise, with channels rescaled by up to ``imbalance``."""
    net = Net((2, 5, 5), 2)
    net.conv("point1", (2, 6), 1)
    net.add(ReLU(), "relu1")
    net.conv("depth", (6, 6), groups=6)
    net.add(ReLU(), "relu2")
    net.conv("point2", (6, 4), 1)
    net.add(GlobalAveragePool(), "gap")
    net.add(Flatten(), "flat")
    net.fc("fc", (4, 5))
    graph = net.done()
    factors = np.geomspace(1, imbalance, 6).astype(np.float32)
    for name, shape in (("point1_w", (6, 1, 1, 1)), ("point1_b", (6,))):
        graph.node(name).operator.value[:] *= factors.reshape(shape)
    graph.node("depth_w").operator.value[:] /= factors[::-1].reshape(6, 1, 1, 1)
    return graph


def concat() -> GraphView:
    """Two branches of different range joined, one of them without a layer of its own."""
    net = Net((2, 4, 4), 3)
    net.conv("stem", (2, 3))
    stem = net.add(ReLU(), "relu")
    wide = net.conv("wide", (3, 2))
    net.graph.node("wide_w").operator.value[:] *= 5
    net.add(Concat(1), "concat", wide, stem)
    net.conv("tail", (5, 3), 1)
    return net.done()


def relu6() -> GraphView:
    """Inverted residual with ReLU6."""
    net = Net((2, 5, 5), 4)
    start = net.conv("start", (2, 4), 1)
    for i, (channels, window, groups) in enumerate((((4, 8), 1, 1), ((8, 8), 3, 8))):
        net.conv(f"conv{i}", channels, window, groups=groups)
        net.graph.node(f"conv{i}_w").operator.value[:] *= 4
        net.add(Clip(0.0, 6.0), f"clip{i}")
    end = net.conv("end", (8, 4), 1)
    net.add(Add(), "add", end, start)
    net.add(AveragePool((2, 2), (2, 2), (1, 1), (0,) * 4), "mean")
    return net.done()


def functions() -> GraphView:
    """Functions that become tables, alone and in a row, and a padding that is no zero."""
    net = Net((2, 4, 4), 5)
    net.conv("conv1", (2, 3))
    net.add(LeakyReLU(0.2), "leaky")
    net.conv("conv2", (3, 3), 1)
    net.add(Sigmoid(), "sigmoid")
    net.add(Tanh(), "tanh")
    net.add(Pad((0, 0, 1, 1), (0, 0, 1, 1), 0.25), "pad")
    net.conv("conv3", (3, 2), padding=0)
    return net.done()


def product() -> GraphView:
    """Squeeze and excitation: a product of two activations; and a difference."""
    net = Net((2, 4, 4), 6)
    data = net.conv("conv", (2, 4))
    net.add(GlobalAveragePool(), "gap")
    net.conv("gate", (4, 4), 1)
    gate = net.add(Sigmoid(), "sigmoid")
    scaled = net.add(Mul(), "product", data, gate)
    net.add(Sub(), "difference", scaled, data)
    return net.done()


def trained_form() -> GraphView:
    """As a training framework exports it: BatchNorm after each Conv, Softmax at the end."""
    net = Net((2, 5, 5), 7)
    net.conv("conv1", (2, 4), bias=False)
    net.batch_norm("bn1", 4)
    net.add(ReLU(), "relu1")
    net.conv("conv2", (4, 4), groups=4)
    net.batch_norm("bn2", 4)
    net.add(ReLU(), "relu2")
    net.add(GlobalAveragePool(), "gap")
    net.add(Flatten(), "flat")
    net.fc("fc", (4, 3))
    net.add(Softmax(1), "softmax")
    return net.done()


NETWORKS: dict[str, Callable[[], GraphView]] = {
    f.__name__: f
    for f in (chain, residual, depthwise, concat, relu6, functions, product, trained_form)
}


def samples(graph: GraphView, count: int = 16, seed: int = 0) -> np.ndarray:
    """Return a float32 batch in [-1, 1] for a graph of one input."""
    shape = (count, *graph.inputs[0].operator.shape[1:])
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)
