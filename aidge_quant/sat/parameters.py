"""Insert what SAT does to weights: TanhClamp, DoReFa, ScaleAdjust, in this order."""

from collections.abc import Mapping

from aidge_quant.errors import GraphError
from aidge_quant.graph import GraphView, Node, Port
from aidge_quant.ops import (
    BatchNorm,
    DoReFa,
    DoReFaMode,
    Producer,
    Quantizer,
    ScaleAdjust,
    TanhClamp,
    TrainedQuantizer,
)
from aidge_quant.ptq.flow import is_affine
from aidge_quant.qat.bits import LayerBits, bits_of_layers
from aidge_quant.qat.prepare import prepare_training


def insert_param_clamping(network: GraphView) -> None:
    """Insert, in place, a TanhClamp behind every weight of a layer.

    Parameters
    ----------
    network : GraphView
        The network to train. It is prepared first: a trailing Softmax goes, BatchNorm stays.

    Raises
    ------
    GraphError
        If a weight has nodes on it already.
    UnsupportedError
        If the network has nodes without an integer form.
    """
    twin = network.clone()
    prepare_training(twin, False)
    for layer in _layers(twin):
        _expect_float_weight(layer)
        weight = layer.input(1).node
        if not isinstance(weight.operator, Producer):
            raise GraphError(f"{layer.name}: its weight comes from {weight.name} already")
        twin.insert_before(layer, 1, TanhClamp(), twin.unique_name(f"{weight.name}_tanh_clamp"))
    network.become(twin)


def insert_param_scaling_adjust(network: GraphView, use_batchnorms: bool) -> None:
    """Insert, in place, a ScaleAdjust on the weight of every layer, behind what is there.

    Parameters
    ----------
    network : GraphView
        The network to train.
    use_batchnorms : bool
        Leave out layers that a BatchNorm follows, which normalizes by itself.

    Raises
    ------
    GraphError
        If a weight has a ScaleAdjust, or is quantized already.
    """
    for layer in _layers(network):
        _expect_float_weight(layer)
        if use_batchnorms and _has_batch_norm(network, layer):
            continue
        if _find(layer, ScaleAdjust) is not None:
            raise GraphError(f"{layer.name}: its weight has a ScaleAdjust already")
    for layer in _layers(network):
        if not (use_batchnorms and _has_batch_norm(network, layer)):
            name = network.unique_name(f"{_weight(layer).name}_scale_adjust")
            network.insert_before(layer, 1, ScaleAdjust(), name)


def insert_sat_nodes(network: GraphView, use_batchnorms: bool) -> None:
    """Insert, in place, what the first phase of SAT trains with: TanhClamp and ScaleAdjust.

    Parameters
    ----------
    network : GraphView
        The network to train.
    use_batchnorms : bool
        No ScaleAdjust on layers that a BatchNorm follows.

    Raises
    ------
    GraphError, UnsupportedError
        As of both functions; the network then stays as it was.
    """
    twin = network.clone()
    insert_param_clamping(twin)
    insert_param_scaling_adjust(twin, use_batchnorms)
    network.become(twin)


def insert_param_quantizers(
    network: GraphView,
    nb_bits: int,
    mode: DoReFaMode = DoReFaMode.Default,
    *,
    first_bits: int | None = None,
    last_bits: int | None = None,
    layer_bits: Mapping[str, LayerBits] | None = None,
) -> None:
    """Insert, in place, a DoReFa behind every TanhClamp: the second phase of SAT.

    Parameters
    ----------
    network : GraphView
        After ``insert_sat_nodes``.
    nb_bits : int, 2 to 8
        Of the weights.
    mode : DoReFaMode
        Default and FullRange have 2^nb_bits levels, odd multiples of 1 / (2^nb_bits - 1): the
        integer network stores them in one bit more. Symmetric and Asymmetric fit ``nb_bits``.
    first_bits, last_bits : int, optional
        Of the first layers and of the last ones.
    layer_bits : mapping of ``LayerBits`` by name, optional
        Of single layers; their ``weight`` counts here.

    Raises
    ------
    GraphError
        If a weight has no TanhClamp, or a DoReFa already.
    """
    default = LayerBits(int(nb_bits), int(nb_bits))
    bits = bits_of_layers(network, default, layer_bits, first_bits, last_bits)
    for layer in bits:
        if _find(layer, TanhClamp) is None:
            raise GraphError(
                f"{layer.name}: its weight has no TanhClamp; call insert_sat_nodes first"
            )
        if _find(layer, DoReFa) is not None:
            raise GraphError(f"{layer.name}: its weight has a DoReFa already")
    for layer, found in bits.items():
        clamp = _find(layer, TanhClamp)
        assert clamp is not None
        even = mode in (DoReFaMode.Default, DoReFaMode.FullRange)
        levels = 2**found.weight - 1 if even else 2 ** (found.weight - 1) - 1
        name = network.unique_name(f"{_weight(layer).name}_dorefa")
        network.insert_after(Port(clamp), DoReFa(levels, mode), name)


def _expect_float_weight(layer: Node) -> None:
    """Refuse a weight that was rounded: what is inserted behind it would change the integers."""
    node = layer.input(1).node
    while not isinstance(node.operator, Producer):
        if isinstance(node.operator, DoReFa | TrainedQuantizer | Quantizer):
            raise GraphError(
                f"{layer.name}: its weight is quantized already, by {node.name} ({node.type}); "
                "insert TanhClamp and ScaleAdjust into the float network, before quantizers"
            )
        node = node.input(0).node
    if node.operator.constant or node.operator.value.dtype.kind != "f":
        raise GraphError(
            f"{layer.name}: its weight {node.name} holds constants, as after "
            "post_training_transform; begin with the float network"
        )


def _layers(network: GraphView) -> list[Node]:
    return [node for node in network.topological() if is_affine(node)]


def _weight(layer: Node) -> Node:
    node = layer.input(1).node
    while not isinstance(node.operator, Producer):
        node = node.input(0).node
    return node


def _find(layer: Node, kind: type) -> Node | None:
    """Return the node of an operator class on the weight of a layer."""
    node = layer.input(1).node
    while not isinstance(node.operator, Producer):
        if isinstance(node.operator, kind):
            return node
        node = node.input(0).node
    return None


def _has_batch_norm(network: GraphView, layer: Node) -> bool:
    reader = network.sole_consumer(layer)
    return reader is not None and isinstance(reader.operator, BatchNorm)
