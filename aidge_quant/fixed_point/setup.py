"""Insert the quantizers of fixed-point formats."""

from collections.abc import Iterable, Mapping

import numpy as np

from aidge_quant.errors import GraphError
from aidge_quant.executor import Arrays, evaluate
from aidge_quant.graph import GraphView, Node, Port
from aidge_quant.ops import BiasQuantizer, FixedQ, Producer
from aidge_quant.qat.bits import LayerBits, bits_of_layers, require_bits
from aidge_quant.qat.prepare import prepare_training
from aidge_quant.qat.sites import find_sites, place, quantizer_of
from aidge_quant.training.gradients import calibration_feeds

#: How many powers of two below the one that holds all values are tried as the span.
SPANS = 4


def setup_quantizers(
    network: GraphView,
    nb_bits: int,
    calibration: Arrays,
    *,
    activation_bits: int | None = None,
    first_bits: int | None = None,
    last_bits: int | None = None,
    layer_bits: Mapping[str, LayerBits] | None = None,
    joined_bits: int = 8,
) -> None:
    """Insert, in place, the FixedQ quantizers that a network trains with.

    Spans are powers of two and do not train: every layer of the integer network ends in one shift
    and computes what was trained, bit for bit; pools whose count is no power of two keep a
    multiplier. A failure leaves the network as it was.

    Parameters
    ----------
    network : GraphView
        Float network, trained or not. It is prepared first: BatchNorm is folded, a trailing Softmax
        goes.
    nb_bits : int, 2 to 8
        Of the weights, and of the data that layers with weights read.
    calibration : array (batch, *shape), or a mapping of them by input name
        Samples as the network is fed; the spans of the data follow from them. An input without
        negative values takes unsigned integers.
    activation_bits, first_bits, last_bits : int, optional
    layer_bits : mapping of ``LayerBits`` by name, optional
    joined_bits : int, 2 to 8
        As of ``lsq.setup_quantizers``.

    Raises
    ------
    DataError, GraphError, UnsupportedError
        If an argument cannot be used or the network has nodes without an integer form.

    Notes
    -----
    Of the power of two that holds all values and the four below it, a tensor takes the span with
    the least squared error; a weight none at which its least integer occurs, where another one is
    left. On every layer X: ``X_fixed_i`` on the data, ``X_fixed_p`` on the weight, ``X_fixed_b`` on
    the bias, which is rounded to the unit of the accumulator.
    """
    require_bits(joined_bits, "joined_bits")
    twin = network.clone()
    prepare_training(twin, True)
    default = LayerBits(nb_bits, nb_bits if activation_bits is None else activation_bits)
    bits = bits_of_layers(twin, default, layer_bits, first_bits, last_bits)
    feeds = calibration_feeds(twin, calibration)
    signed = any(array.min() < 0 for array in feeds.values())
    sites = find_sites(twin, bits, joined_bits, signed)
    seen = _observed(twin, feeds, {_source(site.port, site.readers) for site in sites})
    groups: dict[int, list[np.ndarray]] = {}
    for site in sites:
        groups.setdefault(site.group, []).append(seen[_source(site.port, site.readers)])
    for site in sites:
        operator = _fitting(groups[site.group], site.bits, not site.signed, site.name)
        base = f"{site.name}_fixed_i" if site.of_layer else f"{site.name}_fixed"
        place(twin, site, operator, twin.unique_name(base), ())
    for layer, found in bits.items():
        source = layer.input(1).node.operator.value
        operator = _fitting([source], found.weight, False, layer.name, whole=True)
        name = twin.unique_name(f"{layer.name}_fixed_p")
        weight = twin.insert_before(layer, 1, operator, name)
        if layer.has_input(2):
            data = quantizer_of(layer.input(0))
            steps = [_constant(twin, node) for node in (data, weight)]
            name = twin.unique_name(f"{layer.name}_fixed_b")
            twin.insert_before(layer, 2, BiasQuantizer(power_of_two=True), name, steps)
    twin.check()
    network.become(twin)


def _source(port: Port, readers: tuple[tuple[Node, int], ...]) -> Port:
    """Return what a quantizer sees in float: of a second one, what its readers read."""
    return readers[0][0].input(readers[0][1]) if readers else port


def _observed(
    network: GraphView, feeds: Mapping[str, np.ndarray], ports: Iterable[Port]
) -> dict[Port, np.ndarray]:
    wanted = {(port.node, port.index): port for port in ports}
    seen: dict[Port, np.ndarray] = {}

    def observe(node: Node, outputs: tuple[np.ndarray, ...]) -> None:
        for index, array in enumerate(outputs):
            if (node, index) in wanted:
                seen[wanted[node, index]] = array

    evaluate(network, feeds, observe=observe)
    return seen


def _fitting(
    arrays: list[np.ndarray], bits: int, unsigned: bool, name: str, *, whole: bool = False
) -> FixedQ:
    """Return the format with the least squared error; ``whole``: without its least integer."""
    largest = max(float(np.abs(array).max()) for array in arrays)
    if not np.isfinite(largest) or largest == 0:
        raise GraphError(
            f"{name}: the largest magnitude of what is to be quantized is {largest}, so no span "
            "follows from it; feed real data, or leave the layer out"
        )
    top = int(np.ceil(np.log2(largest)))
    best, least = None, np.inf
    for exponent in range(top + 1, top - SPANS - 1, -1):
        operator = FixedQ(bits, 2.0**exponent, unsigned, half_up=True)
        rounded = [operator.forward(array) for array in arrays]
        if whole and exponent < top + 1:
            bound = operator.range[0] * operator.step
            if any((array <= bound).any() for array in rounded):
                continue
        error = sum(
            float(np.sum(np.square(y - x, dtype=np.float64)))
            for x, y in zip(arrays, rounded, strict=True)
        )
        if error < least:
            best, least = operator, error
    assert best is not None
    return best


def _constant(network: GraphView, quantizer: Node) -> Node:
    """Return a producer of the step of a quantizer; all that ask for one share it."""
    name = f"{quantizer.name}_step"
    if any(node.name == name for node in network.nodes):
        return network.node(name)
    step = np.full(1, quantizer.operator.step, np.float32)
    return network.add(Producer(step, constant=True), (), name)
