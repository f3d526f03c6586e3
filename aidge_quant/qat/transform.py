"""From a trained graph with quantizers for training to one of integers, which ``lower`` takes."""

import dataclasses

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import GraphError
from aidge_quant.executor import infer_shapes
from aidge_quant.graph import Annotation, GraphView, Metadata, Node
from aidge_quant.ops import (
    Add,
    BatchNorm,
    Clip,
    Concat,
    Input,
    Mul,
    Producer,
    Quantizer,
    ReLU,
    Sub,
    TrainedQuantizer,
    Trait,
)
from aidge_quant.ops.pooling import as_sum
from aidge_quant.ops.quantization import HALF_UP, as_shift, round_half_up
from aidge_quant.ptq.flow import has_trait, is_affine
from aidge_quant.qat.formats import Format, format_of, on_grid
from aidge_quant.qat.prepare import require_trainable
from aidge_quant.qat.sites import is_move
from aidge_quant.qat.weights import IntegerWeight, bias_of, by_channel, integer_weight
from aidge_quant.recipes.fold_batch_norm import batch_norm_affine

#: Largest factor of an operand of an Add: with 8 bits the sum stays far inside int32.
LARGEST_FACTOR = 2**14

#: Largest magnitude of a clipped int32 that float32 holds exactly.
LARGEST_INT32 = 2**31 - 128

#: How much of an output step the rounding of a bias may be, where finer weights can help.
BIAS_ERROR = 1 / 64

#: Biases beyond it mean that a BatchNorm passes nothing of its channel.
LARGEST_BIAS = 2**29


def to_integers(
    network: GraphView, true_integers: bool, recipe: str, *, fine_biases: bool = True
) -> None:
    """Replace, in place, the quantizers for training by Quantizers with the scales of integers.

    A failure leaves the network as it was.

    Parameters
    ----------
    network : GraphView
        Trained, with a quantizer on every weight and on every tensor that is stored.
    true_integers : bool
        Give parameters and tensors their integer types; else they are floats that hold integers.
    recipe : str
        Name noted in the metadata.
    fine_biases : bool
        Where rounding the bias to the accumulator's unit would move the output by more than 1/64 of
        its step, as in depthwise layers of few bits, multiply weights and bias by a power of two;
        such weights are stored as int8.
    """
    twin = network.clone()
    _Transform(twin, true_integers, fine_biases).apply()
    twin.remove_dead_nodes()
    twin.check()
    twin.metadata[Metadata.RECIPE] = recipe
    twin.metadata[Metadata.OPTIONS] = f"true_integers={true_integers}"
    network.become(twin)


class _Transform:
    def __init__(self, network: GraphView, true_integers: bool, fine_biases: bool) -> None:
        self.network = network
        self.true_integers = true_integers
        self.fine_biases = fine_biases
        self.shapes = infer_shapes(network)
        self.spatial = {
            n: self.shapes[n.input(0).node][n.input(0).index][2:] for n in network.nodes if n.inputs
        }
        self.formats: dict[Node, Format] = {}  # by the node that a tensor leaves
        self.rounded: set[Node] = set()  # what a quantizer was behind, which rounds the bounds too

    def apply(self) -> None:
        """Walk over the nodes once, sources first."""
        require_trainable(self.network)
        for node in self.network.topological():
            if isinstance(node.operator, Input):
                self._input(node)
            elif is_affine(node):
                self._affine(node)
            elif isinstance(node.operator, Add | Sub):
                self._sum(node)
            elif has_trait(node, Trait.SUMS):
                self._pool(node)
            elif isinstance(node.operator, TrainedQuantizer):
                if node in self.network and node.input(0).node in self.formats:
                    self._narrow(node)
            elif is_move(node) or isinstance(node.operator, ReLU | Clip | Concat):
                self._pass(node)

    # -- formats ---------------------------------------------------------------------------------

    def _incoming(self, node: Node, slot: int) -> Format:
        source = node.input(slot).node
        if source not in self.formats:
            raise GraphError(
                f"{node.name} ({node.type}): no quantizer is on what it reads from {source.name}"
            )
        return self.formats[source]

    def _pass(self, node: Node) -> None:
        """Let the format pass, and put the bounds of a Clip on it."""
        found = self._incoming(node, 0)
        if isinstance(node.operator, Concat):
            others = [self._incoming(node, slot) for slot in range(len(node.inputs))]
            if any(other != found for other in others):
                raise GraphError(f"{node.name} (Concat): its inputs have different quantizers")
        if isinstance(node.operator, Clip):
            operator = node.operator
            bounds = [on_grid(bound, found) for bound in (operator.lower, operator.upper)]
            if any(off for _, off in bounds) and not self._is_rounded(node, found):
                raise GraphError(
                    f"{node.name} (Clip): its bounds are not on the grid of its data, steps of "
                    f"{found.unit:g}, so that integers cannot give what was trained; put a "
                    "quantizer with the same step behind it before training"
                )
            lower, upper = (bound for bound, _ in bounds)
            node.operator = dataclasses.replace(operator, lower=float(lower), upper=upper)
        self.formats[node] = found

    def _is_rounded(self, node: Node, found: Format) -> bool:
        """Whether a quantizer behind the node rounds to the format of what it reads."""
        if node in self.rounded:
            return True
        readers = self.network.consumers(node)
        quantized = all(isinstance(reader.operator, TrainedQuantizer) for reader in readers)
        return quantized and all(format_of(reader) == found for reader in readers)

    def _take_quantizer(self, node: Node) -> tuple[Format, Node] | None:
        """Remove the quantizer of the tensor behind ``node``; return its format and its name.

        It is the first one behind clips and moves; None where there is none.
        """
        network, end = self.network, node
        passed: set[Node] = set()
        while not network.is_output(end):
            reader = network.sole_consumer(end)
            if reader is None:
                break
            if isinstance(reader.operator, TrainedQuantizer):
                found = format_of(reader)
                network.bypass(reader)
                self.rounded |= passed
                return found, reader
            if not (is_move(reader) or isinstance(reader.operator, ReLU | Clip)):
                break
            end = reader
            passed.add(reader)
        return None

    def _store(
        self, node: Node, unit: float | np.ndarray, taken: tuple[Format, Node] | None
    ) -> None:
        """Put the quantizer of what ``node`` computes directly behind it.

        Parameters
        ----------
        unit : float or array (channels,)
            Real value of one unit of what ``node`` computes.
        taken : format and quantizer that ``_take_quantizer`` returned
        """
        if taken is None:
            self._keep_accumulator(node, unit)
            return
        found, quantizer = taken
        self.formats[self._quantize(node, unit, found, quantizer.name)] = found

    def _quantize(self, node: Node, unit: float | np.ndarray, found: Format, name: str) -> Node:
        scale = np.asarray(unit, np.float64) / found.unit
        shift = as_shift(scale)
        is_input = isinstance(node.operator, Input)
        operator = Quantizer(
            scale if scale.ndim else float(scale),
            (found.lower, found.upper),
            HALF_UP,
            None if is_input else shift,
            self._channel_axis(node),
            found.element_type if self.true_integers else None,
        )
        added = self.network.insert_after(node, operator, self.network.unique_name(name))
        self._annotate(added, found.unit, found.element_type)
        return added

    def _channel_axis(self, node: Node) -> int:
        return -1 if node.type == "FC" and len(self.shapes[node][0]) > 2 else 1

    def _annotate(self, node: Node, unit: float | np.ndarray, element_type: dtype) -> None:
        node.annotations[Annotation.SCALE] = unit
        node.annotations[Annotation.PRECISION] = element_type
        node.annotations[Annotation.IS_ACTIVATION_QUANTIZER] = True

    def _keep_accumulator(self, node: Node, unit: float | np.ndarray) -> None:
        """Let outputs of the network have the accumulator; channels take the coarsest unit."""
        if not is_affine(node):
            raise GraphError(
                f"{node.name} ({node.type}): no quantizer is on its output; insert the quantizers "
                "of the activations before training"
            )
        units = np.asarray(unit, np.float64)
        coarsest = float(units.max())
        scale = units / coarsest
        clip = (-LARGEST_INT32, LARGEST_INT32)
        operator = Quantizer(
            scale if scale.ndim else 1.0,
            clip,
            HALF_UP,
            as_shift(scale),
            self._channel_axis(node),
            dtype.int32 if self.true_integers else None,
        )
        name = self.network.unique_name(f"{node.name}_output")
        added = self.network.insert_after(node, operator, name)
        self._annotate(added, coarsest, dtype.int32)
        self.formats[added] = Format(coarsest, *clip)

    # -- layers ----------------------------------------------------------------------------------

    def _input(self, node: Node) -> None:
        """Quantize the input to all integers of 8 bits, and clip to fewer in a step of its own.

        What feeds an integer network saturates at the ends of int8 only.
        """
        taken = self._take_quantizer(node)
        if taken is None:
            raise GraphError(f"{node.name} (Input): no quantizer is on it")
        found, quantizer = taken
        full = dtype.uint8 if found.lower >= 0 else dtype.int8
        wide = dataclasses.replace(found, lower=full.min, upper=full.max)
        added = self._quantize(node, 1.0, wide, quantizer.name)
        if wide != found:
            name = f"{quantizer.name}_clip"
            added = self._quantize(added, found.unit, found, name)
        self.formats[added] = found

    def _affine(self, node: Node) -> None:
        """Make parameters integers, with the BatchNorm behind the layer in its scale and bias."""
        incoming, weight = self._incoming(node, 0), integer_weight(node)
        values, accumulator = weight.values, incoming.unit * weight.unit
        bias, on_grid = np.zeros(1), False
        if node.has_input(2):
            bias, on_grid = bias_of(node)
        unit: float | np.ndarray = accumulator
        normalization = self.network.sole_consumer(node)
        folded = normalization is not None and isinstance(normalization.operator, BatchNorm)
        if folded:
            assert normalization is not None
            found = batch_norm_affine(normalization)
            if found is None:
                raise GraphError(f"{normalization.name}: its parameters are not constants")
            factor, term = found
            self.network.bypass(normalization)
            bias = bias * factor + term
            magnitude = np.abs(factor)
            # A channel that passes next to nothing is a constant: the weights give way to the bias.
            dead = magnitude * accumulator * LARGEST_BIAS <= np.abs(bias)
            magnitude = np.where(dead, 1.0, magnitude)
            values = by_channel(node, values, np.where(dead, 0.0, np.sign(factor)))
            unit = accumulator * magnitude
        taken = self._take_quantizer(node)
        has_bias = node.has_input(2) or folded
        # Float32 biases that were rounded to the grid lie within some parts of a thousand of it.
        steps = bias / np.asarray(unit, np.float64)
        on_grid = on_grid or bool(np.abs(steps - np.rint(steps)).max() < 0.01)
        if taken is not None and self.fine_biases and has_bias and not on_grid:
            finer = _finer(values, float(np.max(unit)) / taken[0].unit)
            values, unit = values * finer, unit / finer
            weight = IntegerWeight(values, weight.unit / finer, weight.largest * finer)
        units = np.asarray(unit, np.float64)
        self._set_weight(node, values, weight)
        if has_bias:
            channels = self.shapes[node][0][self._channel_axis(node)]
            whole = np.broadcast_to(round_half_up(bias / units), (channels,))
            if np.abs(whole).max() > LARGEST_INT32:
                raise GraphError(f"{node.name}: its bias does not fit into int32")
            self._set_bias(node, whole, unit)
        self._store(node, unit, taken)

    def _set_weight(self, node: Node, values: np.ndarray, weight: IntegerWeight) -> None:
        largest = max(weight.largest, int(np.abs(values).max(initial=0)))
        kinds = (dtype.int4, dtype.int8, dtype.int16)
        stored = next(kind for kind in kinds if largest <= kind.max)
        self._constant(node, 1, values, stored, weight.unit)

    def _set_bias(self, node: Node, values: np.ndarray, unit: float | np.ndarray) -> None:
        self._constant(node, 2, values, dtype.int32, unit)

    def _constant(
        self, node: Node, slot: int, values: np.ndarray, stored: dtype, unit: float | np.ndarray
    ) -> None:
        base = f"{node.name}_{('', 'weight', 'bias')[slot]}"
        if node.has_input(slot):
            source = node.input(slot).node
            while not isinstance(source.operator, Producer):
                source = source.input(0).node
            base = source.name
        held = np.ascontiguousarray(values, stored.numpy if self.true_integers else np.float32)
        kind = stored if self.true_integers else dtype.float32
        name = self.network.unique_name(f"{base}_int")
        added = self.network.add(Producer(held, kind, constant=True), (), name)
        added.annotations[Annotation.PRECISION] = stored
        added.annotations[Annotation.SCALE] = unit
        self.network.set_input(node, slot, added)

    def _sum(self, node: Node) -> None:
        """Give both operands an integer factor: the ratio of their units to that of the sum."""
        taken = self._take_quantizer(node)
        if taken is None:
            raise GraphError(f"{node.name} ({node.type}): no quantizer is on its output")
        found, quantizer = taken
        ratios = [self._incoming(node, slot).unit / found.unit for slot in (0, 1)]
        shift = max(0, int(np.floor(np.log2(LARGEST_FACTOR / max(ratios)))))
        for slot, ratio in enumerate(ratios):
            factor = int(round_half_up(np.asarray(ratio * 2.0**shift)))
            if factor == 0:
                raise GraphError(
                    f"{node.name} ({node.type}): input {slot} has a step {ratio:g} times that of "
                    "the sum, too small for an integer factor; train on, or scale its layer"
                )
            held = np.asarray(factor, np.int32 if self.true_integers else np.float32)
            kind = dtype.int32 if self.true_integers else dtype.float32
            base = f"{node.name}_Multiplier{slot}"
            constant = self.network.add(
                Producer(held, kind, constant=True), (), self.network.unique_name(base)
            )
            name = self.network.unique_name(f"{base}_Mul")
            added = self.network.insert_before(node, slot, Mul(), name, (constant,))
            added.annotations[Annotation.IS_COMPENSATION] = True
        added = self._quantize(node, found.unit * 2.0**-shift, found, quantizer.name)
        self.formats[added] = found

    def _pool(self, node: Node) -> None:
        """Sum where every window is whole, and divide in the quantizer; else average integers."""
        incoming = self._incoming(node, 0)
        window = as_sum(node.operator, self.spatial[node])
        unit = incoming.unit
        if window is not None:
            node.operator = window
            unit /= int(np.prod(window.window))
        self._store(node, unit, self._take_quantizer(node))

    def _narrow(self, node: Node) -> None:
        """Requantize a tensor that is stored in a wider format."""
        incoming, found = self._incoming(node, 0), format_of(node)
        if incoming == found:
            self.network.bypass(node)
            return
        source = node.input(0)
        scale = np.asarray(incoming.unit / found.unit)
        node.operator = Quantizer(
            float(scale),
            (found.lower, found.upper),
            HALF_UP,
            as_shift(scale),
            1,
            found.element_type if self.true_integers else None,
        )
        self.network.set_inputs(node, (source,))
        self._annotate(node, found.unit, found.element_type)
        self.formats[node] = found


def _finer(values: np.ndarray, ratio: float) -> int:
    """Return the power of two for weights whose unit is ``ratio`` of an output step."""
    largest, factor = np.abs(values).max(initial=1), 1
    while ratio / factor > 2 * BIAS_ERROR and 2 * factor * largest <= dtype.int8.max:
        factor *= 2
    return factor
