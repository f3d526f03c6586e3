"""ResNet18 and MobileNetV2 for images of 224 x 224, as ONNX models with random weights.

Only their shapes matter where speed is measured.  BatchNorm is folded away already.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 13


class Builder:
    """Adds layers behind each other; the weights keep the size of the data (He et al. 2015)."""

    def __init__(self, seed: int = 0):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.constants = [], []

    def _add(self, kind, inputs, **attributes):
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def _constant(self, value):
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name

    def _parameters(self, *shape):
        weight = self.rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        return [self._constant(weight), self._constant(self.rng.normal(0, 0.01, shape[0]))]

    def conv(self, x, inputs, outputs, kernel, stride=1, groups=1):
        """Add a convolution that keeps the size of the image, or divides it by the stride."""
        shape = (outputs, inputs // groups, kernel, kernel)
        return self._add(
            "Conv",
            [x, *self._parameters(*shape)],
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[kernel // 2] * 4,
            group=groups,
        )

    def relu(self, x):
        """Add a ReLU."""
        return self._add("Relu", [x])

    def relu6(self, x):
        """Add a ReLU6."""
        bounds = [self._constant(np.array(bound)) for bound in (0, 6)]
        return self._add("Clip", [x, *bounds])

    def add(self, a, b):
        """Add a sum of two tensors."""
        return self._add("Add", [a, b])

    def max_pool(self, x):
        """Add a max pool that halves the size of the image."""
        return self._add("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)

    def model(self, x, features, name):
        """Return the model after a global pool and a last layer with 1000 outputs."""
        x = self._add("Flatten", [self._add("GlobalAveragePool", [x])])
        x = self._add("Gemm", [x, *self._parameters(1000, features)], transB=1)
        ends = [
            [helper.make_tensor_value_info(end, TensorProto.FLOAT, ["n", *shape])]
            for end, shape in (("input", (3, 224, 224)), (x, (1000,)))
        ]
        graph = helper.make_graph(self.nodes, name, *ends, self.constants)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        onnx.checker.check_model(model)
        return model


def resnet18():
    """Return ResNet18 (He et al. 2016)."""
    b = Builder()
    x = b.max_pool(b.relu(b.conv("input", 3, 64, 7, 2)))
    inputs = 64
    for outputs in (64, 128, 256, 512):
        for stride in (1 if outputs == 64 else 2, 1):
            y = b.relu(b.conv(x, inputs, outputs, 3, stride))
            y = b.conv(y, outputs, outputs, 3)
            if inputs != outputs:
                x = b.conv(x, inputs, outputs, 1, stride)
            x, inputs = b.relu(b.add(y, x)), outputs
    return b.model(x, 512, "resnet18")


def mobilenetv2():
    """Return MobileNetV2, width 1 (Sandler et al. 2018)."""
    b = Builder()
    x, inputs = b.relu6(b.conv("input", 3, 32, 3, 2)), 32
    for expansion, outputs, count, first in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for index in range(count):
            stride, hidden, y = first if index == 0 else 1, inputs * expansion, x
            if expansion > 1:
                y = b.relu6(b.conv(y, inputs, hidden, 1))
            y = b.relu6(b.conv(y, hidden, hidden, 3, stride, groups=hidden))
            y = b.conv(y, hidden, outputs, 1)
            x = b.add(y, x) if stride == 1 and inputs == outputs else y
            inputs = outputs
    return b.model(b.relu6(b.conv(x, inputs, 1280, 1)), 1280, "mobilenetv2")


BUILDERS = {"resnet18": resnet18, "mobilenetv2": mobilenetv2}
