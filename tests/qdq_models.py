"""Small models in QDQ form, written node by node as exporters write them."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: Scale and zero point (and its type) of an activation.
Grid = tuple[float, int, str]


class QdqModel:
    """A model under construction; every method returns the name of the tensor it makes."""

    def __init__(self, shape: tuple[int, ...], *, opset: int = 17, kind: str = "float32") -> None:
        self.opset = opset
        element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        self.inputs = [helper.make_tensor_value_info("x", element, ("N", *shape))]
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.rng = np.random.default_rng(7)
        self._count = 0

    def constant(self, array: Any, name: str = "", kind: int | None = None) -> str:
        """Add an initializer; ``kind`` is ONNX's type where numpy has none."""
        name = name or self._free("constant")
        array = np.asarray(array)
        if kind is None:
            self.constants.append(numpy_helper.from_array(array, name))
        else:
            flat = array.reshape(-1).tolist()
            self.constants.append(helper.make_tensor(name, kind, array.shape, flat))
        return name

    def node(self, op: str, *inputs: str, name: str = "", outputs: int = 1, **given: Any) -> Any:
        """Add a node; its outputs are called after it."""
        name = name or self._free(op.lower())
        names = [f"{name}_out"] + [f"{name}_out{i}" for i in range(1, outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name, **given))
        return names[0] if outputs == 1 else names

    def quantize(self, x: str, grid: Grid, name: str = "") -> str:
        scale, zero, kind = grid
        parts = (self.constant(np.float32(scale)), self.constant(np.asarray(zero, kind)))
        return self.node("QuantizeLinear", x, *parts, name=name or self._free("q"))

    def dequantize(self, q: str, grid: Grid) -> str:
        scale, zero, kind = grid
        parts = (self.constant(np.float32(scale)), self.constant(np.asarray(zero, kind)))
        return self.node("DequantizeLinear", q, *parts, name=self._free("dq"))

    def through(self, x: str, grid: Grid) -> str:
        """Quantize and dequantize."""
        return self.dequantize(self.quantize(x, grid), grid)

    def weight(
        self,
        shape: tuple[int, ...],
        scale: Any = 0.01,
        *,
        axis: int = 0,
        kind: str = "int8",
        zero: Any = 0,
        largest: int = 127,
    ) -> str:
        """Add random integers with a DequantizeLinear."""
        zeros = np.broadcast_to(np.asarray(zero), np.shape(scale)).astype(kind)
        limits = np.iinfo(kind)
        low, high = max(-largest, limits.min), min(largest, limits.max)
        low = 0 if limits.min == 0 else low
        high = limits.max if limits.min == 0 else high
        values = self.rng.integers(low, high + 1, shape).astype(kind)
        parts = [self.constant(values), self.constant(np.asarray(scale, np.float32))]
        parts.append(self.constant(zeros))
        extra = {"axis": axis} if np.ndim(scale) else {}
        return self.node("DequantizeLinear", *parts, name=self._free("dqw"), **extra)

    def bias(self, size: int, scale: Any, largest: int = 2000) -> str:
        """Add random int32 with a DequantizeLinear, without zero point."""
        values = self.rng.integers(-largest, largest + 1, size).astype(np.int32)
        parts = (self.constant(values), self.constant(np.asarray(scale, np.float32)))
        extra = {"axis": 0} if np.ndim(scale) else {}
        return self.node("DequantizeLinear", *parts, name=self._free("dqb"), **extra)

    def build(self, *outputs: str, kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
        """Return the model; its outputs are those tensors."""
        infos = [helper.make_tensor_value_info(name, kind, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "qdq", self.inputs, infos, self.constants)
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        ir = 10 if self.opset >= 21 else 8
        return helper.make_model(graph, opset_imports=opsets, ir_version=ir)

    def _free(self, base: str) -> str:
        self._count += 1
        return f"{base}_{self._count}"
