"""Quantization nodes, integer operators and packed integers in written models.

The operators are stand-ins: the writers go by the names of classes and fields.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import written_models as written
from networks import random_samples
from onnx import numpy_helper

from aidge_quant import ops
from aidge_quant.dtypes import dtype
from aidge_quant.errors import DataError, GraphError, UnsupportedError
from aidge_quant.graph import GraphView
from aidge_quant.onnx_io import to_model
from aidge_quant.onnx_io.tensors import array_of, tensor_of


@dataclass(frozen=True, eq=False)
class Stub(ops.Operator):
    """An operator of the quantized forms, as its class would describe it."""

    roles: ClassVar[tuple[str, ...]] = ("data",) * 3
    optional: ClassVar[int] = 1
    result: ClassVar[dtype] = dtype.int8

    def infer_shapes(self, *shapes):
        return (shapes[0],)

    def infer_dtype(self, *dtypes):
        return (self.result,)


@dataclass(frozen=True, eq=False)
class QuantizeLinear(Stub):
    axis: int = 1
    element_type: dtype | None = None

    onnx: ClassVar[tuple[str, ...] | None] = ("QuantizeLinear",)

    def infer_dtype(self, *dtypes):
        return (dtypes[2] if len(dtypes) > 2 else self.element_type or dtype.uint8,)


@dataclass(frozen=True, eq=False)
class DequantizeLinear(Stub):
    axis: int = 1

    onnx: ClassVar[tuple[str, ...] | None] = ("DequantizeLinear",)
    result: ClassVar[dtype] = dtype.float32


@dataclass(frozen=True, eq=False)
class QLinearAveragePool(Stub):
    window: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    ceil: bool = False
    count_include_pad: bool = False

    onnx: ClassVar[tuple[str, ...] | None] = ("QLinearAveragePool",)
    onnx_domain: ClassVar[str] = "com.microsoft"

    def infer_shapes(self, *shapes):
        return ((*shapes[0][:2], 2, 2),)


@dataclass(frozen=True, eq=False)
class QLinearConv(Stub):
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[int, ...]
    groups: int = 1

    onnx: ClassVar[tuple[str, ...] | None] = ("QLinearConv",)
    result: ClassVar[dtype] = dtype.uint8

    def infer_shapes(self, *shapes):
        plain = ops.Conv(self.stride, self.dilation, self.padding, self.groups)
        return plain.infer_shapes(shapes[0], shapes[3])


def quantized(scale, kind=dtype.int8, zero=False):
    graph = GraphView("quantized")
    x = graph.add_input(ops.Input((1, 3, 4, 4)), "x")
    inputs = [x, graph.add(ops.producer(np.asarray(scale, np.float32)), (), "scale")]
    if zero:
        values = np.zeros(np.shape(scale), kind.numpy)
        inputs.append(graph.add(ops.Producer(values, kind), (), "zero"))
    q = graph.add(QuantizeLinear(element_type=kind), inputs, "q")
    d = graph.add(DequantizeLinear(), (q, *inputs[1:]), "d")
    graph.add_output(d, "y")
    return graph


@pytest.mark.parametrize("kind", [dtype.int4, dtype.int8, dtype.uint8, dtype.int16])
@pytest.mark.parametrize("scale", [0.5, [0.5, 0.25, 1.0]])
@pytest.mark.parametrize("zero", [False, True])
def test_quantization_nodes_are_written(kind, scale, zero):
    graph = quantized(scale, kind, zero)
    x = random_samples((3, 4, 4), 2, 3)
    steps = np.reshape(scale, (1, -1, 1, 1))
    expected = np.clip(np.rint(x / steps), kind.min, kind.max) * steps
    oldest = 21 if kind in (dtype.int4, dtype.int16) else 10 if np.ndim(scale) == 0 else 13
    for opset in {oldest, 13, 17, 21, 25}:
        if opset >= oldest:
            model = to_model(graph, opset=opset)
            written.check(model)
            (found,) = written.session(model).run(None, {"x": x})
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
            names = {a.name for a in model.graph.node[0].attribute}
            assert ("axis" in names) == (np.ndim(scale) == 1)
            told = kind is not dtype.uint8 and not zero and opset >= 21
            assert ("output_dtype" in names) == told
    with pytest.raises(UnsupportedError, match=f"q .QuantizeLinear.: it needs opset {oldest}"):
        to_model(graph, opset=oldest - 1)


@pytest.mark.parametrize("kind", [dtype.int4, dtype.uint4])
def test_weights_of_4_bits_run_packed(kind):
    graph = GraphView("packed")
    values = np.arange(kind.min, kind.max, dtype=kind.numpy).reshape(5, 3)
    weight = graph.add(ops.Producer(values, kind), (), "w")
    scale = graph.add(ops.producer(np.linspace(1, 2, 5, dtype=np.float32)), (), "scale")
    real = graph.add(DequantizeLinear(axis=0), (weight, scale), "real")
    x = graph.add_input(ops.Input((1, 3)), "x")
    graph.add_output(graph.add(ops.FC(), (x, real), "fc"), "y")
    model = to_model(graph, opset=21)
    written.check(model)
    array = random_samples((3,), 4, 6)
    (found,) = written.session(model).run(None, {"x": array})
    wanted = array @ (values * np.linspace(1, 2, 5)[:, None]).T
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def test_a_quantized_convolution_is_written():
    graph = GraphView("integers")
    x = graph.add_input(ops.Input((1, 2, 6, 6), dtype.uint8), "x")
    parts = {
        "x_scale": np.float32(0.5),
        "x_zero": np.uint8(3),
        "w": np.random.default_rng(2).integers(-9, 9, (4, 1, 3, 3)).astype(np.int8),
        "w_scale": np.ones(4, np.float32),
        "w_zero": np.zeros(4, np.int8),
        "y_scale": np.float32(1),
        "y_zero": np.uint8(9),
    }
    inputs = [x, *(graph.add(ops.producer(value), (), name) for name, value in parts.items())]
    operator = QLinearConv((2, 2), (1, 1), (1, 1, 0, 0), 2)
    graph.add_output(graph.add(operator, inputs, "conv"), "y")
    model = to_model(graph, opset=13)
    written.check(model)
    values = np.random.default_rng(4).integers(0, 255, (3, 2, 6, 6)).astype(np.uint8)
    (found,) = written.session(model).run(None, {"x": values})
    plain = ops.Conv((2, 2), (1, 1), (1, 1, 0, 0), 2)
    sums = plain.forward(values.astype(np.float64) - 3, parts["w"].astype(np.float64))
    np.testing.assert_array_equal(found, np.clip(np.rint(sums * 0.5) + 9, 0, 255))


def test_operators_of_another_domain_are_written():
    graph = GraphView("foreign")
    x = graph.add_input(ops.Input((1, 3, 4, 4), dtype.int8), "x")
    scale = graph.add(ops.producer(np.float32(0.5)), (), "scale")
    zero = graph.add(ops.producer(np.int8(0)), (), "zero")
    operator = QLinearAveragePool((2, 2), (2, 2), (0, 0, 0, 0))
    pool = graph.add(operator, (x, scale, zero, scale, zero), "pool")
    graph.add_output(graph.add(ops.Flatten(), (pool,), "flat"), "y")
    model = to_model(graph)
    written.check(model)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17), ("com.microsoft", 1)]
    values = np.arange(48, dtype=np.int8).reshape(1, 3, 4, 4)
    (found,) = written.session(model).run(None, {"x": values})
    assert found.shape == (1, 12)
    assert found[0, 0] in (2, 3)


def test_a_field_that_no_table_knows_is_an_error():
    @dataclass(frozen=True, eq=False)
    class Odd(QLinearAveragePool):
        strange: int = 1

    graph = GraphView("odd")
    x = graph.add_input(ops.Input((1, 3, 4, 4)), "x")
    graph.add_output(graph.add(Odd((2, 2), (2, 2), (0, 0, 0, 0)), (x,), "odd"), "y")
    with pytest.raises(GraphError, match="field strange of class Odd is in none of the tables"):
        to_model(graph)


@pytest.mark.parametrize("kind", [dtype.int4, dtype.uint4])
def test_small_integers_are_packed(kind):
    values = np.arange(kind.min, kind.max, dtype=kind.numpy).reshape(3, 5)
    graph = GraphView("small")
    x = graph.add_input(ops.Input((1, 5), kind), "x")
    weight = graph.add(ops.Producer(values, kind), (), "w")
    graph.add_output(graph.add(ops.Concat(0), (x, weight), "y"), "out")
    with pytest.raises(UnsupportedError, match=f"{kind.value}, which ONNX's Concat does not have"):
        to_model(graph, opset=24)
    tensor = tensor_of("w", values, kind)
    assert len(tensor.raw_data) == 8
    np.testing.assert_array_equal(array_of(tensor), values)
    np.testing.assert_array_equal(numpy_helper.to_array(tensor).astype(np.int64), values)
    with pytest.raises(DataError, match=f"'w' has values that {kind.value} cannot hold"):
        tensor_of("w", np.array([kind.max + 1], kind.numpy), kind)
