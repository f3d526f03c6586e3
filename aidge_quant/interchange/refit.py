"""fit_power_of_two: an imported network with one shift a layer in place of 31-bit multipliers."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import GraphError
from aidge_quant.executor import run
from aidge_quant.graph import Annotation, GraphView, Node, Port
from aidge_quant.integer.lowering.lower import lower
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.ops import (
    Add,
    Clip,
    Concat,
    Dequantizer,
    Input,
    Mul,
    Producer,
    Quantizer,
    Sub,
    SumPool,
    Trait,
)
from aidge_quant.ops.quantization import HALF_UP
from aidge_quant.recipes import remove_trailing_softmax

Arrays = np.ndarray | Mapping[str, np.ndarray]

#: Largest multiplier of an Add, a product or a Rescale.
LARGEST = 32767
#: With more, the zero point of the output, shifted, would not fit beside the accumulator.
SHIFTS = (-30, 22)
#: Bound of an accumulator, with room for the rounding constant and the zero points.
LIMIT = 2.0**30


@dataclass(frozen=True, eq=False)
class PowerOfTwoFit:
    """What `fit_power_of_two` gives.

    Attributes
    ----------
    graph : GraphView
    network : IntegerNetwork
        Of ``graph``; every layer ends in one rounding shift.
    changed : tuple of str
        Names of weights, multipliers and activations with other numbers than before, in order.
    sqnr_db : float
        Signal to noise of its outputs against those of the network before, in dB; infinite where
        they are equal. The noise of 8-bit activations themselves is at 20 to 40 dB.
    cost_db : float or None
        How much lower the signal to noise against the reference became, in dB; None without one.
    """

    graph: GraphView
    network: IntegerNetwork
    changed: tuple[str, ...]
    sqnr_db: float
    cost_db: float | None


def fit_power_of_two(
    graph: GraphView, inputs: Arrays, *, reference: GraphView | None = None
) -> PowerOfTwoFit:
    """Return the network of an imported graph with every requantization as one shift.

    Parameters
    ----------
    graph : GraphView
        As `from_qdq` or `from_qop` leaves it; it stays as it is.
    inputs : float array (batch, *shape), or a mapping of them by input name
        What the cost is measured on.
    reference : GraphView, optional
        The float network that was quantized, with the same outputs; a Softmax at the end is left
        out of it.

    Returns
    -------
    PowerOfTwoFit

    Raises
    ------
    GraphError
        If a quantizer has no scale noted on it.

    Notes
    -----
    The scales of activations stay, but for the outputs of means. Weights become
    ``round(w * f * 2**k)``, f the real factor, with the largest k, one a channel, for which they
    fit their type; a weight that used its whole type loses at most one bit. Sums, products and
    rescalings get the nearest multipliers below 2**15. A mean has neither: its output scale grows
    to the next power of two times that of its input, and what reads it is fitted to that.
    Rounding becomes half up, which costs nothing in a shift.
    """
    copy = graph.clone()
    fit = _Fit(copy)
    for node in copy.topological():
        fit.visit(node)
    copy.check()
    before, after = lower(graph), lower(copy)
    old, new = _reals(before, inputs), _reals(after, inputs)
    cost = None
    if reference is not None:
        real = reference.clone()
        remove_trailing_softmax(real)
        wanted = _joined(run(real, inputs))
        cost = _sqnr(wanted, old) - _sqnr(wanted, new)
    changed = tuple(dict.fromkeys(fit.changed))
    return PowerOfTwoFit(copy, after, changed, _sqnr(old, new), cost)


class _Fit:
    """One fit: the scales before and after it, and the names of what changed."""

    def __init__(self, graph: GraphView) -> None:
        self.graph = graph
        self.changed: list[str] = []
        #: Real value of one unit of each node that gives stored integers.
        self.scales: dict[Node, float] = {}

    def visit(self, node: Node) -> None:
        """Fit a quantizer and what it ends; carry the scale through everything else."""
        operator = node.operator
        if isinstance(operator, Quantizer):
            self._quantizer(node)
        elif isinstance(operator, Dequantizer):
            scale = self.scales[node.input(0).node]
            if scale != operator.scale:
                node.operator = dataclasses.replace(operator, scale=scale)
        elif node.inputs and node.input(0).node in self.scales and _passes(node):
            self.scales[node] = self.scales[node.input(0).node]

    def _quantizer(self, node: Node) -> None:
        if Annotation.SCALE not in node.annotations:
            raise GraphError(f"{node.name} (Quantizer): its scale is not noted on it")
        origin = node.input(0).node
        compensated = bool(origin.annotations.get(Annotation.IS_COMPENSATION))
        driver = origin.input(0).node if compensated else origin
        scale = node.annotations[Annotation.SCALE]
        wide = node.operator.element_type is dtype.int32
        if not wide:
            self.scales[node] = float(scale)
        if isinstance(driver.operator, Input) or Trait.POINTWISE in driver.operator.traits:
            return
        if Trait.AFFINE in driver.operator.traits:
            self._affine(node, driver, None, wide)
        elif isinstance(driver.operator, Add | Sub):
            affine = [p for p in driver.inputs if p and Trait.AFFINE in p.node.operator.traits]
            if affine:
                self._affine(node, affine[0].node, driver, wide)
            else:
                self._sum(node, driver)
        elif isinstance(driver.operator, SumPool):
            self._mean(node, driver)
        elif isinstance(driver.operator, Mul):
            factor = np.prod([self.scales[p.node] for p in driver.inputs if p is not None])
            self._product(node, float(factor), 255.0**2)
        else:
            self._product(node, self.scales[driver], _reach(node))

    # -- layers with weights ---------------------------------------------------------------------

    def _affine(self, node: Node, affine: Node, total: Node | None, wide: bool) -> None:
        weight = affine.input(1).node
        incoming = self.scales[affine.input(0).node]
        w_scale = np.asarray(weight.annotations[Annotation.SCALE], np.float64)
        values = weight.operator.value.astype(np.float64)
        unit = incoming * w_scale  # of the accumulator before
        noted = affine.input(2).node.annotations if affine.has_input(2) else {}
        was = np.asarray(noted.get(Annotation.SCALE, unit), np.float64)  # unit of the bias
        if wide:
            self._wide(node, affine, unit, was)
            return
        factor = unit / self.scales[node]
        axes = tuple(i for i in range(values.ndim) if i != affine.operator.output_axis)
        groups = getattr(affine.operator, "groups", 1) if affine.operator.output_axis else 1
        peaks = np.tile(np.abs(values).max(axis=axes), groups)
        sums = np.tile(np.abs(values).sum(axis=axes), groups)
        bias = np.zeros(peaks.size)
        if affine.has_input(2):
            bias = np.abs(affine.input(2).node.operator.value.astype(np.float64)) * was / unit
        if total is not None:
            bias = bias + 255 * np.abs(self._residual(affine, total)[1]).reshape(-1)
        top = weight.operator.element_type.max
        room = np.minimum(
            top / np.maximum(peaks, 1e-300), LIMIT / np.maximum(bias + sums * _reach(node), 1)
        )
        room = np.where(peaks > 0, room, 1 / factor)
        shift = np.clip(np.floor(np.log2(room / factor)), *SHIFTS)
        ratio = factor * np.exp2(shift)
        row = [1] * values.ndim
        row[affine.operator.output_axis] = -1
        per_weight = np.broadcast_to(ratio, peaks.shape)[: peaks.size // groups]
        scaled = np.rint(values * per_weight.reshape(row))
        self._set(affine, 1, scaled, weight.operator.element_type, w_scale / ratio)
        if affine.has_input(2):
            steps = affine.input(2).node.operator.value * was / unit * ratio
            self._set(affine, 2, np.rint(steps), dtype.int32, unit / ratio)
        if total is not None:
            self._set_residual(affine, total, ratio)
        self._finish(node, shift)

    def _wide(self, node: Node, affine: Node, unit: np.ndarray, was: np.ndarray) -> None:
        """Keep an accumulator that is an output, in the unit that its input has now."""
        if affine.has_input(2) and not np.array_equal(was, unit):
            steps = np.rint(affine.input(2).node.operator.value * was / unit)
            self._set(affine, 2, steps, dtype.int32, unit)
        node.annotations[Annotation.SCALE] = unit if unit.ndim else float(unit)

    def _residual(self, affine: Node, total: Node) -> tuple[Port, np.ndarray]:
        """Return what is added to an accumulator, and its factors in the unit before."""
        port = next(p for p in total.inputs if p is not None and p.node is not affine)
        if not port.node.annotations.get(Annotation.IS_COMPENSATION):
            return port, np.ones(())
        return port, port.node.input(1).node.operator.value.astype(np.float64)

    def _set_residual(self, affine: Node, total: Node, ratio: np.ndarray) -> None:
        port, factors = self._residual(affine, total)
        rank = 4 if affine.operator.type != "FC" else 2
        if ratio.size > 1 and affine.operator.type != "FC":
            rank = affine.input(1).node.operator.value.ndim
        shape = (1, -1, *(1,) * (rank - 2)) if ratio.size > 1 else ()
        scaled = np.maximum(np.rint(factors * ratio.reshape(shape)), 1)
        if port.node.annotations.get(Annotation.IS_COMPENSATION):
            self._set(port.node, 1, scaled, dtype.int32, None)
            return
        constant = self._constant(f"{total.name}_Coefficient", scaled, dtype.int32)
        slot = total.inputs.index(port)
        name = self.graph.unique_name(f"{total.name}_Multiplier")
        added = self.graph.insert_before(total, slot, Mul(), name, (constant,))
        added.annotations[Annotation.IS_COMPENSATION] = True

    # -- layers without weights ------------------------------------------------------------------

    def _sum(self, node: Node, total: Node) -> None:
        """Give a sum the multipliers that say both factors with one shift."""
        step = self.scales[node]
        sources = [self._behind_compensation(port) for port in total.inputs]
        factors = np.array([self.scales[source.node] / step for source in sources])
        bound = LARGEST if _reach(node) < 2**15 else LARGEST // 2
        shift = np.clip(np.floor(np.log2(bound / factors.max())), *SHIFTS)
        multipliers = np.maximum(np.rint(factors * np.exp2(shift)), 1)
        for slot, value in enumerate(multipliers):
            self._compensate(total, slot, float(value))
        self._finish(node, shift)

    def _product(self, node: Node, unit: float, reach: float) -> None:
        """Give a product or a rescaling a multiplier before its shift."""
        factor = unit / self.scales[node]
        largest = min(LARGEST, LIMIT / reach)
        shift = np.clip(np.floor(np.log2(largest / factor)), *SHIFTS)
        self._compensate(node, 0, float(max(np.rint(factor * np.exp2(shift)), 1)))
        self._finish(node, shift)

    def _mean(self, node: Node, pool: Node) -> None:
        """Let the output of a mean have a power of two times the scale of its sum."""
        unit = self.scales[pool.input(0).node] / float(np.prod(pool.operator.window))
        factor = unit / self.scales[node]
        shift = np.ceil(-np.log2(factor) - 1e-9)
        moved = unit * np.exp2(shift)
        if self._may_move(node):
            if moved != self.scales[node]:
                self.changed.append(node.name)
            node.annotations[Annotation.SCALE] = self.scales[node] = float(moved)
            self._finish(node, shift)
            return
        # What reads it needs its scale: a rescaling follows.
        wanted, clip = self.scales[node], node.operator.clip
        name = self.graph.unique_name(f"{node.name}_Mean")
        inner = self.graph.insert_before(node, 0, node.operator, name)
        inner.annotations.update(node.annotations)
        inner.annotations[Annotation.SCALE] = self.scales[inner] = float(moved)
        inner.operator = dataclasses.replace(inner.operator, clip=clip)
        self._finish(inner, shift)
        self.scales[node] = wanted
        self._product(node, float(moved), _reach(node))

    def _may_move(self, node: Node) -> bool:
        """Whether nothing that reads a tensor needs its scale to stay."""
        for reader in self.graph.consumers(node):
            if isinstance(reader.operator, Concat | Clip):
                return False
            ends = isinstance(reader.operator, Quantizer | Dequantizer) or not _passes(reader)
            if not ends and not self._may_move(reader):
                return False
        return True

    # -- writing ---------------------------------------------------------------------------------

    def _behind_compensation(self, port: Port | None) -> Port:
        assert port is not None
        return port.node.input(0) if port.node.annotations.get(Annotation.IS_COMPENSATION) else port

    def _compensate(self, node: Node, slot: int, value: float) -> None:
        """Let an integer stand before input ``slot``, in place of one that does already."""
        before = node.input(slot).node
        if before.annotations.get(Annotation.IS_COMPENSATION):
            self._set(before, 1, np.asarray(value), dtype.int32, None)
            return
        if value == 1:
            return
        constant = self._constant(f"{node.name}_Coefficient", np.asarray(value), dtype.int32)
        name = self.graph.unique_name(f"{node.name}_Multiplier")
        added = self.graph.insert_before(node, slot, Mul(), name, (constant,))
        added.annotations[Annotation.IS_COMPENSATION] = True
        self.changed.append(constant.name)

    def _constant(self, name: str, values: np.ndarray, kind: dtype) -> Node:
        operator = Producer(np.asarray(values).astype(kind.numpy), kind, constant=True)
        return self.graph.add(operator, (), self.graph.unique_name(name))

    def _set(
        self, node: Node, slot: int, values: np.ndarray, kind: dtype, scale: np.ndarray | None
    ) -> None:
        producer = node.input(slot).node
        array = np.asarray(values).astype(kind.numpy)
        if not np.array_equal(array, producer.operator.value):
            self.changed.append(producer.name)
        producer.operator = Producer(np.ascontiguousarray(array), kind, constant=True)
        if scale is not None:
            found = np.asarray(scale, np.float64)
            producer.annotations[Annotation.SCALE] = found if found.ndim else float(found)

    def _finish(self, node: Node, shift: np.ndarray) -> None:
        """Give a quantizer its shift."""
        whole = np.asarray(shift).astype(np.int64)
        if whole.size > 1 and (whole == whole[0]).all():
            whole = whole[0]
        scale = np.exp2(-whole.astype(np.float64))
        node.operator = dataclasses.replace(
            node.operator,
            scale=scale if scale.ndim else float(scale),
            shift=np.asarray(whole),
            rounding=HALF_UP,
        )


def _passes(node: Node) -> bool:
    """Whether the output of a node that is no quantizer has the scale of its input."""
    operator = node.operator
    return Trait.AFFINE not in operator.traits and not isinstance(operator, Add | Sub | Mul)


def _reach(node: Node) -> float:
    """Return a bound of the stored integers that a layer reads, by what it writes."""
    return 2.0**15 if node.annotations.get(Annotation.PRECISION) is dtype.int16 else 256.0


def _reals(network: IntegerNetwork, inputs: Arrays) -> np.ndarray:
    """Return all outputs of a network in real numbers, one after the other."""
    return _joined(network.dequantize_output(network.run(network.quantize_input(inputs))))


def _joined(outputs: Arrays) -> np.ndarray:
    arrays = list(outputs.values()) if isinstance(outputs, Mapping) else [outputs]
    return np.concatenate([array.reshape(-1) for array in arrays]).astype(np.float64)


def _sqnr(signal: np.ndarray, other: np.ndarray) -> float:
    """Return the signal to noise of ``other`` in dB."""
    noise = float(np.sum((signal - other) ** 2))
    return float(10 * np.log10(np.sum(signal**2) / noise)) if noise else float("inf")
