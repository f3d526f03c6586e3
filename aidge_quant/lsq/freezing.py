"""Between two phases of training: BatchNorm as a factor, and biases in accumulator units."""

from aidge_quant.errors import GraphError
from aidge_quant.graph import GraphView, Node
from aidge_quant.ops import LSQ, BiasQuantizer
from aidge_quant.ptq.flow import is_affine
from aidge_quant.qat.freezing import align, freeze
from aidge_quant.qat.sites import quantizer_of


def freeze_batch_norms(network: GraphView) -> None:
    """Let, in place, every BatchNorm be a factor, and round biases as the integer network does.

    For networks that trained with BatchNorm: what ``post_training_transform`` then makes computes
    what this network does. A short second ``fit`` with ``batch_statistics=False`` makes up for the
    rounding. With ``power_of_two`` the factors become the nearest powers of two, so that every
    channel ends in one shift; see ``align_batch_norms``. A failure leaves the network as it was.

    Parameters
    ----------
    network : GraphView
        After ``setup_quantizers(..., fold_batch_norms=False)`` and training.

    Raises
    ------
    GraphError
        If a layer has no LSQ quantizers, or is frozen already.

    Notes
    -----
    ``f (w x + b - mean) + bias`` with ``f = scale / sqrt(variance + epsilon)`` becomes
    ``f (w x + b')`` with ``b' = b - mean + bias / f``, rounded to multiples of s_in s_w.
    """
    _require_quantizers(network)
    twin = network.clone()
    freeze(twin, _insert_quantizer, lambda layer: layer.input(1).node.operator.power_of_two)
    network.become(twin)


def align_batch_norms(network: GraphView) -> None:
    """Scale, in place, weights and statistics so that every BatchNorm's factor is a power of two.

    For networks that train with ``power_of_two`` and BatchNorm, between two ``fit``: training goes
    on with BatchNorm, and what ``freeze_batch_norms`` rounds at the end is little then. Let the
    scales of BatchNorm rest after it, by a ``Group`` of their names, and the steps too: a step that
    turns to another power of two is a jump that only BatchNorm makes up for. A failure leaves the
    network as it was.

    Parameters
    ----------
    network : GraphView
        After ``setup_quantizers(..., power_of_two=True, fold_batch_norms=False)``.

    Raises
    ------
    GraphError
        If a layer has no LSQ quantizers, or is frozen already.

    Notes
    -----
    With ``f = scale / sqrt(variance + epsilon)`` and ``r = |f| / 2^round(log2 |f|)``, weights, bias
    and mean are multiplied by r, ``variance + epsilon`` by r^2. In float that changes nothing; the
    weights are rounded anew, so that the stored statistics fit after some batches only.
    """
    _require_quantizers(network)
    twin = network.clone()
    align(twin)
    network.become(twin)


def _require_quantizers(network: GraphView) -> None:
    for layer in network.topological():
        if not is_affine(layer):
            continue
        if not isinstance(layer.input(1).node.operator, LSQ):
            raise GraphError(
                f"{layer.name}: its weight has no LSQ quantizer; call setup_quantizers first"
            )
        if layer.has_input(2) and isinstance(layer.input(2).node.operator, BiasQuantizer):
            raise GraphError(f"{layer.name}: its bias is quantized already")


def _insert_quantizer(network: GraphView, layer: Node) -> None:
    step = layer.input(1).node
    both = (quantizer_of(layer.input(0)).input(1), step.input(1))
    name = network.unique_name(f"{layer.name}_lsq_b")
    network.insert_before(layer, 2, BiasQuantizer(step.operator.power_of_two), name, both)
