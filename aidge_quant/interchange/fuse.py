"""fuse_qdq: float operators between DequantizeLinear and QuantizeLinear as QLinear operators."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import UnsupportedError
from aidge_quant.executor import infer_shapes, infer_types
from aidge_quant.graph import GraphView, Node, Port
from aidge_quant.interchange.importing.constants import Constants, off_scale
from aidge_quant.interchange.importing.hoisting import is_bound
from aidge_quant.interchange.importing.records import rename_records
from aidge_quant.interchange.importing.values import Grid
from aidge_quant.ops import (
    AveragePool,
    Concat,
    Conv,
    DequantizeLinear,
    Gemm,
    LeakyReLU,
    Operator,
    Producer,
    QGemm,
    QLinearAdd,
    QLinearAveragePool,
    QLinearConcat,
    QLinearConv,
    QLinearGlobalAveragePool,
    QLinearLeakyRelu,
    QLinearMatMul,
    QLinearMul,
    QLinearSigmoid,
    QuantizeLinear,
    producer,
)

#: Operators of the standard domain, and ONNX Runtime's own.
STANDARD = ("QLinearConv", "QLinearMatMul")
CONTRIB = (
    "QGemm",
    "QLinearAdd",
    "QLinearAveragePool",
    "QLinearConcat",
    "QLinearGlobalAveragePool",
    "QLinearLeakyRelu",
    "QLinearMul",
    "QLinearSigmoid",
)

Fused = tuple[Operator, list[Port]]


def fuse_qdq(graph: GraphView, selected: Iterable[str] = (), *, contrib: bool = False) -> None:
    """Replace, in place, float operators between Q and DQ by operators on quantized tensors.

    Parameters
    ----------
    graph : GraphView
        In QDQ form.
    selected : iterable of str
        Operators to make (``"QLinearConv"``); all that may be made if empty.
    contrib : bool
        Whether operators of ONNX Runtime's domain, com.microsoft, may be made.

    Raises
    ------
    UnsupportedError
        If a name in ``selected`` is no such operator, or needs ``contrib``.

    Notes
    -----
    A node keeps the name of the float operator. What has no such form stays: other operators,
    types other than 8 bits, scales that differ between the channels of an activation. A ReLU or
    Clip before the QuantizeLinear is absorbed where the range of the integers has the same effect.
    A bias in float becomes int32.
    """
    allowed = (*STANDARD, *CONTRIB) if contrib else STANDARD
    wanted = set(selected) or set(allowed)
    unknown = sorted(wanted - set(STANDARD) - set(CONTRIB))
    if unknown:
        raise UnsupportedError(
            f"operators {unknown} cannot be made, expected some of "
            f"{', '.join((*STANDARD, *CONTRIB))}"
        )
    foreign = sorted(wanted - set(allowed))
    if foreign:
        raise UnsupportedError(
            f"operators {foreign} are not of the ONNX standard, expected some of "
            f"{', '.join(STANDARD)}; set contrib=True for a model that ONNX Runtime alone runs"
        )
    copy = graph.clone()
    fusion = _Fusion(copy, wanted)
    for node in copy.topological():
        fusion.fuse(node)
    copy.remove_dead_nodes()
    rename_records(copy, fusion.renamed)
    graph.become(copy)


class _Fusion:
    """One fusion: what is known of the graph before it."""

    def __init__(self, graph: GraphView, wanted: set[str]) -> None:
        self.graph = graph
        self.wanted = wanted
        self.constants = Constants(graph)
        self.types = infer_types(graph)
        self.shapes = infer_shapes(graph)
        self.renamed: dict[str, str] = {}

    def fuse(self, last: Node) -> None:
        """Fuse the operator before a QuantizeLinear, if it can be."""
        if not isinstance(last.operator, QuantizeLinear) or self.constants.holds(last):
            return
        grid = self._grid(last)
        if grid is None:
            return
        node = last.input(0).node
        while is_bound(node) and self.graph.sole_consumer(node) is not None:
            if not _absorbs(grid, node):
                return
            node = node.input(0).node
        if self.graph.sole_consumer(node) is None or node.type not in FORMS:
            return
        found = FORMS[node.type](self, node)
        if found is None:
            return
        operator, inputs = found
        if operator.type not in self.wanted:
            return
        result = [last.input(1), self._zero_point(last)]
        node_inputs = _with_result(operator, inputs, result)
        node.operator = operator
        self.graph.set_inputs(node, node_inputs)
        self.graph.replace_uses(last, node)
        self.renamed[last.name] = node.name

    def _grid(self, node: Node) -> Grid | None:
        """Return the grid of an activation with one constant scale and 8 bits, else None."""
        try:
            grid = self.constants.grid(node)
        except UnsupportedError:
            return None
        return grid if grid.element_type in (dtype.int8, dtype.uint8) else None

    def _zero_point(self, node: Node) -> Port:
        """Return the zero point of a Q or DQ node, zeros where it is left out."""
        if node.has_input(2):
            return node.input(2)
        scale = self.constants.of(node.input(1))
        assert scale is not None
        element_type = self.constants.element_type(node)
        zeros = Producer(np.zeros(scale.shape, element_type.numpy), element_type)
        name = self.graph.unique_name(f"{node.name}_zero_point")
        return Port(self.graph.add(zeros, (), name))

    def triple(self, port: Port, axis: int | None = None) -> list[Port] | None:
        """Return data, scale and zero point behind a port; None where it is not such a tensor.

        A row of scales is taken only for a constant, along ``axis``.
        """
        node = port.node
        if not isinstance(node.operator, DequantizeLinear):
            return None
        scale = self.constants.of(node.input(1))
        if scale is None or self.constants.element_type(node) not in (dtype.int8, dtype.uint8):
            return None
        if scale.size > 1 and (axis is None or node.operator.axis != axis):
            return None
        return [node.input(0), node.input(1), self._zero_point(node)]

    def bias(self, node: Node, slot: int, unit: np.ndarray, size: int) -> list[Port] | None:
        """Return the bias as int32 on a scale, nothing without a bias, None if it cannot be."""
        if not node.has_input(slot):
            return []
        port = node.input(slot)
        reals = self.constants.of(port)
        if reals is None or reals.size != size:
            return None
        found = self.constants.quantized(port)
        if found is None:
            steps = np.rint(reals.astype(np.float64).reshape(-1) / unit.astype(np.float64))
        else:
            if off_scale(found.scale, unit).any():
                return None
            steps = found.steps.reshape(-1).astype(np.float64)
        if np.abs(steps).max(initial=0) >= 2**31:
            return None
        name = self.graph.unique_name(f"{node.name}_bias_quantized")
        return [Port(self.graph.add(producer(steps.astype(np.int32)), (), name))]

    def unit(self, *triples: list[Port]) -> np.ndarray:
        """Return the float32 product of the scales of two operands."""
        scales = []
        for _, scale, _ in triples:
            value = self.constants.of(scale)
            assert value is not None
            scales.append(value.astype(np.float32).reshape(() if value.size == 1 else (-1,)))
        return np.asarray(scales[0] * scales[1], np.float32)

    def transposed(self, triple: list[Port], name: str) -> list[Port]:
        """Return the operand with its constant matrix transposed."""
        data = triple[0].node
        value = self.constants.of(triple[0])
        assert value is not None
        matrix = Producer(np.ascontiguousarray(value.T), self.types[data][0])
        added = self.graph.add(matrix, (), self.graph.unique_name(f"{name}_transposed"))
        return [Port(added), *triple[1:]]


def _absorbs(grid: Grid, node: Node) -> bool:
    """Whether the range of the integers has the effect of a ReLU or Clip."""
    lower = float(getattr(node.operator, "lower", 0.0))
    upper = float(np.max(getattr(node.operator, "upper", np.inf)))
    least, most = grid.interval
    return grid.steps(lower) <= least and grid.steps(upper) >= most


def _with_result(operator: Operator, inputs: list[Port], result: list[Port]) -> list[Port | None]:
    """Return all inputs of a fused node; a bias stands last in ``inputs`` where there is one."""
    if isinstance(operator, QLinearConcat):
        return [*result, *inputs]
    if isinstance(operator, QLinearConv):
        return [*inputs[:6], *result, *inputs[6:]]
    if isinstance(operator, QGemm):
        bias: list[Port | None] = [*inputs[6:]] or [None]
        return [*inputs[:6], *bias, *result]
    return [*inputs, *result]


def _conv(fusion: _Fusion, node: Node) -> Fused | None:
    operator: Conv = node.operator
    data, weight = fusion.triple(node.input(0)), fusion.triple(node.input(1), 0)
    if data is None or weight is None:
        return None
    value = fusion.constants.of(weight[0])
    if value is None:
        return None
    bias = fusion.bias(node, 2, fusion.unit(data, weight), value.shape[0])
    if bias is None:
        return None
    fused = QLinearConv(operator.stride, operator.dilation, operator.padding, operator.groups)
    return fused, [*data, *weight, *bias]


def _matmul(fusion: _Fusion, node: Node) -> Fused | None:
    rank = len(getattr(node.input(1).node.operator, "value", np.zeros((1, 1))).shape)
    a, b = fusion.triple(node.input(0)), fusion.triple(node.input(1), rank - 1)
    return None if a is None or b is None else (QLinearMatMul(), [*a, *b])


def _fc(fusion: _Fusion, node: Node) -> Fused | None:
    data, weight = fusion.triple(node.input(0)), fusion.triple(node.input(1), 0)
    if data is None or weight is None:
        return None
    value = fusion.constants.of(weight[0])
    if value is None:
        return None
    if not node.has_input(2) and "QLinearMatMul" in fusion.wanted:
        return QLinearMatMul(), [*data, *fusion.transposed(weight, node.input(1).node.name)]
    if len(fusion.shapes[node][0]) != 2:
        return None
    bias = fusion.bias(node, 2, fusion.unit(data, weight), value.shape[0])
    return None if bias is None else (QGemm(transpose_b=True), [*data, *weight, *bias])


def _gemm(fusion: _Fusion, node: Node) -> Fused | None:
    operator: Gemm = node.operator
    axis = 0 if operator.transpose_b else 1
    a, b = fusion.triple(node.input(0)), fusion.triple(node.input(1), axis)
    if a is None or b is None:
        return None
    value = fusion.constants.of(b[0])
    if value is None or (node.has_input(2) and operator.beta != 1):
        return None
    unit = fusion.unit(a, b) * np.float32(operator.alpha)
    bias = fusion.bias(node, 2, np.asarray(unit), value.shape[axis])
    fused = QGemm(operator.alpha, operator.transpose_a, operator.transpose_b)
    return None if bias is None else (fused, [*a, *b, *bias])


def _operands(fusion: _Fusion, node: Node) -> list[Port] | None:
    found = [fusion.triple(port) for port in node.inputs if port is not None]
    if any(triple is None for triple in found):
        return None
    return [port for triple in found if triple is not None for port in triple]


def _plain(make: Callable[[Operator], Operator | None]) -> Callable[..., Fused | None]:
    """Return the form of an operator whose inputs are all operands."""

    def form(fusion: _Fusion, node: Node) -> Fused | None:
        operands, operator = _operands(fusion, node), make(node.operator)
        return None if operands is None or operator is None else (operator, operands)

    return form


def _average(operator: Operator) -> Operator | None:
    assert isinstance(operator, AveragePool)
    if any(step != 1 for step in operator.dilation):
        return None
    return QLinearAveragePool(
        operator.window,
        operator.stride,
        operator.padding,
        operator.ceil,
        operator.count_include_pad,
    )


def _leaky(operator: Operator) -> Operator:
    assert isinstance(operator, LeakyReLU)
    return QLinearLeakyRelu(operator.alpha)


def _concat(operator: Operator) -> Operator:
    assert isinstance(operator, Concat)
    return QLinearConcat(operator.axis)


FORMS: Mapping[str, Callable[..., Fused | None]] = {
    "Conv": _conv,
    "MatMul": _matmul,
    "FC": _fc,
    "Gemm": _gemm,
    "Add": _plain(lambda _: QLinearAdd()),
    "Mul": _plain(lambda _: QLinearMul()),
    "AveragePool": _plain(_average),
    "GlobalAveragePool": _plain(lambda _: QLinearGlobalAveragePool()),
    "Concat": _plain(_concat),
    "Sigmoid": _plain(lambda _: QLinearSigmoid()),
    "LeakyReLU": _plain(_leaky),
}
