"""Insert the quantizers of activations."""

from collections.abc import Mapping

import numpy as np

from aidge_quant.errors import DataError
from aidge_quant.executor import Arrays, evaluate, graph_feeds
from aidge_quant.graph import GraphView, Node, Port
from aidge_quant.ops import CGPACT, LSQ, FixedQ, Producer
from aidge_quant.ops.learned_quantization import initial_step
from aidge_quant.qat.bits import LayerBits, bits_of_layers, require_bits
from aidge_quant.qat.prepare import require_trainable
from aidge_quant.qat.sites import find_sites, place
from aidge_quant.training.gradients import calibration_feeds, initialize
from aidge_quant.training.parameters import set_value


def insert_activ_quantizers(
    network: GraphView,
    nb_bits: int,
    init_alpha: float = 1.0,
    *,
    last_bits: int | None = None,
    layer_bits: Mapping[str, LayerBits] | None = None,
    joined_bits: int = 8,
    input_bits: int = 8,
    input_range: float = 1.0,
    signed_input: bool = True,
    calibration: Arrays | None = None,
) -> None:
    """Insert, in place, the quantizers of activations for the second phase of SAT.

    A failure leaves the network as it was.

    Parameters
    ----------
    network : GraphView
        The network to train.
    nb_bits : int, 2 to 8
        Of the activations.
    init_alpha : float, positive
        What the bounds of the CG-PACT quantizers are at first.
    last_bits : int, optional
        Of what the last layers read.
    layer_bits : mapping of ``LayerBits`` by name, optional
        Of what single layers read: their ``activation`` counts here.
    joined_bits : int, 2 to 8
        Of tensors that an Add or a pool reads.
    input_bits : int, 2 to 8
        Of the network's input, which is quantized to a fixed-point format.
    input_range : float
        Largest magnitude of the input; samples in ``calibration`` must not exceed it.
    signed_input : bool
        Whether the input has negative values.
    calibration : array (batch, *shape), or a mapping of them by input name, optional
        Samples as the network is fed. They set the bounds, in place of ``init_alpha``.

    Raises
    ------
    DataError, GraphError, UnsupportedError
        If an argument cannot be used or the network has nodes without an integer form.

    Notes
    -----
    Behind a ReLU a ``X_cgpact`` with the bound ``X_cgpact_alpha``. Beyond the published function,
    tensors that may be negative get an LSQ, ``X_lsq``, and inputs a FixedQ, ``X_fixed``, since the
    integer network stores them as well. Every quantizer is where that network stores a tensor: the
    layers that read one share it.
    """
    for number, name in ((init_alpha, "init_alpha"), (input_range, "input_range")):
        if not (np.isfinite(number) and number > 0):
            raise DataError(f"{name} is {number}, expected a positive number")
    for count, name in ((joined_bits, "joined_bits"), (input_bits, "input_bits")):
        require_bits(count, name)
    if calibration is not None:
        _expect_inputs(calibration_feeds(network, calibration), input_range, signed_input)
    twin = network.clone()
    require_trainable(twin)
    bits = bits_of_layers(twin, LayerBits(nb_bits, nb_bits), layer_bits, None, last_bits)
    shared: dict[int, Node] = {}
    bounds: dict[Node, Node] = {}
    for site in find_sites(twin, bits, joined_bits, signed_input):
        largest = 2**site.bits - 1
        if site.is_input:
            # As the integer network quantizes what it is fed with: ties up.
            fixed = FixedQ(input_bits, float(input_range), not signed_input, half_up=True)
            place(twin, site, fixed, twin.unique_name(f"{site.name}_fixed"), ())
            continue
        base = f"{site.name}_i" if site.of_layer else site.name
        if site.signed:
            half = 1 << (site.bits - 1)
            name = twin.unique_name(f"{base}_lsq")
            source = shared.get(site.group) or _producer(twin, f"{name}_ss", 0.0)
            place(twin, site, LSQ((-half, half - 1)), name, (source,))
        else:
            name = twin.unique_name(f"{base}_cgpact")
            known = shared.get(site.group)
            source = known or _producer(twin, f"{name}_alpha", init_alpha)
            node = place(twin, site, CGPACT(largest), name, (source,))
            bounds[node] = source
        shared[site.group] = source
    twin.check()
    if calibration is not None:
        initialize(twin, calibration)
        _set_bounds(twin, bounds, graph_feeds(twin, calibration))
    network.become(twin)


def _expect_inputs(feeds: Mapping[str, np.ndarray], input_range: float, signed_input: bool) -> None:
    """Refuse samples that the quantizer of the input would cut."""
    for name, array in feeds.items():
        largest = float(np.abs(array).max())
        if largest > input_range:
            raise DataError(
                f"input {name} reaches {largest:g} in the calibration, input_range is "
                f"{input_range:g}; pass the range of the data"
            )
        if array.min() < 0 and not signed_input:
            raise DataError(
                f"input {name} has negative values in the calibration, expected none with "
                "signed_input=False"
            )


def _producer(network: GraphView, name: str, value: float) -> Node:
    array = np.full(1, value, np.float32)
    return network.add(Producer(array), (), network.unique_name(name))


def _set_bounds(
    network: GraphView, bounds: Mapping[Node, Node], feeds: Mapping[str, np.ndarray]
) -> None:
    """Set each bound to R times the first step of LSQ, from what reaches its quantizer in float."""
    # Without the quantizers: bounds that are not set yet would cut what later ones see.
    plain = network.clone()
    for node in bounds:
        plain.bypass(plain.node(node.name))
    sources = {node: _float_source(node, bounds) for node in bounds}
    wanted = {(port.node.name, port.index) for port in sources.values()}
    seen: dict[tuple[str, int], np.ndarray] = {}

    def observe(node: Node, outputs: tuple[np.ndarray, ...]) -> None:
        for index, array in enumerate(outputs):
            if (node.name, index) in wanted:
                seen[node.name, index] = array

    evaluate(plain, feeds, observe=observe)
    values: dict[Node, float] = {}  # those that share a bound take the largest
    for node, alpha in bounds.items():
        port, levels = sources[node], node.operator.range
        value = levels * initial_step(seen[port.node.name, port.index], levels)
        values[alpha] = max(values.get(alpha, 0.0), value)
    for alpha, value in values.items():
        if value > 0:
            set_value(alpha, np.full_like(alpha.operator.value, value))


def _float_source(node: Node, bounds: Mapping[Node, Node]) -> Port:
    """Return what the quantizer reads, through another one before it."""
    port = node.input(0)
    while port.node in bounds:
        port = port.node.input(0)
    return port
