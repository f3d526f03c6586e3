"""Small float networks to train, each with one property, and samples with classes."""

import zlib

import numpy as np

from aidge_quant import ops
from aidge_quant.graph import GraphView


class Maker:
    """Adds layers with random parameters to a graph."""

    def __init__(self, name):
        self.graph = GraphView(name)
        self.rng = np.random.default_rng(zlib.crc32(name.encode()))
        self.input = self.graph.add_input(ops.Input((1, 2, 8, 8)), "input")

    def value(self, name, array):
        return self.graph.add(ops.producer(np.asarray(array, np.float32)), (), name)

    def conv(self, x, name, shape, stride=1, groups=1):
        pad = shape[2] // 2
        fan = np.prod(shape[1:])
        weight = self.value(f"{name}_w", self.rng.normal(0, np.sqrt(2 / fan), shape))
        bias = self.value(f"{name}_b", self.rng.normal(0, 0.1, shape[0]))
        operator = ops.Conv((stride, stride), (1, 1), (pad,) * 4, groups)
        return self.graph.add(operator, (x, weight, bias), name)

    def normalize(self, x, name, channels):
        parts = {
            "scale": self.rng.uniform(0.7, 1.3, channels),
            "bias": self.rng.normal(0, 0.2, channels),
            "mean": self.rng.normal(0, 0.2, channels),
            "var": self.rng.uniform(0.5, 1.5, channels),
        }
        values = [self.value(f"{name}_{part}", array) for part, array in parts.items()]
        return self.graph.add(ops.BatchNorm(), (x, *values), name)

    def relu(self, x, name):
        return self.graph.add(ops.ReLU(), (x,), name)

    def finish(self, x, channels, classes=3):
        x = self.graph.add(ops.Flatten(), (x,), "flatten")
        weight = self.value("fc_w", self.rng.normal(0, channels**-0.5, (classes, channels)))
        bias = self.value("fc_b", np.zeros(classes))
        self.graph.add_output(self.graph.add(ops.FC(), (x, weight, bias), "fc"), "output")
        return self.graph


def chain():
    """Return conv, BatchNorm, ReLU6, MaxPool, conv, ReLU, AveragePool-free head."""
    make = Maker("chain")
    x = make.normalize(make.conv(make.input, "conv", (6, 2, 3, 3)), "conv_bn", 6)
    x = make.graph.add(ops.Clip(0.0, 6.0), (x,), "relu6")
    x = make.graph.add(ops.MaxPool((2, 2), (2, 2), (1, 1), (0, 0, 0, 0)), (x,), "pool")
    x = make.relu(make.conv(x, "inner", (4, 6, 3, 3), 2), "relu")
    return make.finish(x, 16)


def residual():
    """Return a block whose input an Add and a layer read, then a global average."""
    make = Maker("residual")
    first = make.relu(make.conv(make.input, "conv", (6, 2, 3, 3)), "first")
    x = make.relu(make.conv(first, "inner", (6, 6, 3, 3)), "relu")
    x = make.normalize(make.conv(x, "second", (6, 6, 3, 3)), "second_bn", 6)
    x = make.relu(make.graph.add(ops.Add(), (first, x), "sum"), "add")
    x = make.graph.add(ops.GlobalAveragePool(), (x,), "gap")
    return make.finish(x, 6)


def concat():
    """Return two branches that a Concat joins, one of them signed, then a pool."""
    make = Maker("concat")
    first = make.relu(make.conv(make.input, "conv", (4, 2, 3, 3), 2), "first")
    left = make.relu(make.conv(first, "left", (4, 4, 1, 1)), "left_relu")
    right = make.conv(first, "right", (4, 4, 3, 3))
    x = make.graph.add(ops.Concat(1), (left, right), "join")
    x = make.relu(make.conv(x, "after", (6, 8, 1, 1)), "after_relu")
    x = make.graph.add(ops.AveragePool((2, 2), (2, 2), (1, 1), (0, 0, 0, 0)), (x,), "average")
    return make.finish(x, 24)


def linear_bottleneck():
    """Return pointwise, depthwise and linear pointwise layers around a Sub-free residual."""
    make = Maker("linear")
    first = make.normalize(make.conv(make.input, "conv", (4, 2, 3, 3), 2), "conv_bn", 4)
    x = make.relu(make.conv(first, "wide", (8, 4, 1, 1)), "wide_relu")
    x = make.normalize(make.conv(x, "depth", (8, 1, 3, 3), 1, 8), "depth_bn", 8)
    x = make.relu(x, "depth_relu")
    x = make.normalize(make.conv(x, "project", (4, 8, 1, 1)), "project_bn", 4)
    x = make.graph.add(ops.Add(), (first, x), "sum")
    x = make.relu(make.conv(x, "last", (6, 4, 1, 1)), "last_relu")
    x = make.graph.add(ops.GlobalAveragePool(), (x,), "gap")
    return make.finish(x, 6)


def fork(lower, upper):
    """Return a network in which an Add and a Clip read one convolution."""
    make = Maker("fork")
    x = make.conv(make.input, "conv", (4, 2, 3, 3))
    clipped = make.graph.add(ops.Clip(lower, upper), (x,), "clip")
    inner = make.conv(clipped, "inner", (4, 4, 3, 3))
    total = make.graph.add(ops.Add(), (x, inner), "add")
    return make.finish(make.relu(total, "relu"), 256)


def samples(count, seed=0):
    """Return images, and as classes where they are bright."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, count)
    x = rng.normal(0, 0.4, (count, 2, 8, 8)).astype(np.float32)
    for image, label in zip(x, y, strict=True):
        image[label % 2, :, : 8 if label < 2 else 4] += 1.0
    return x, y
