"""Insert the LSQ quantizers."""

from collections.abc import Mapping

import numpy as np

from aidge_quant.errors import DataError
from aidge_quant.executor import Arrays
from aidge_quant.graph import GraphView, Node
from aidge_quant.ops import LSQ, BiasQuantizer, Producer
from aidge_quant.qat.bits import (
    LayerBits,
    bits_of_layers,
    inner_layers,
    require_bits,
    weight_range,
)
from aidge_quant.qat.channels import separate_channels
from aidge_quant.qat.prepare import prepare_training
from aidge_quant.qat.sites import find_sites, place, quantizer_of
from aidge_quant.training.gradients import calibration_feeds, initialize


def setup_quantizers(
    network: GraphView,
    nb_bits: int,
    *,
    activation_bits: int | None = None,
    first_bits: int | None = None,
    last_bits: int | None = None,
    layer_bits: Mapping[str, LayerBits] | None = None,
    joined_bits: int = 8,
    power_of_two: bool = False,
    fold_batch_norms: bool = True,
    channel_wise: bool = False,
    least_error: bool = False,
    calibration: Arrays | None = None,
) -> None:
    """Insert, in place, the LSQ quantizers that a network trains with.

    A failure leaves the network as it was.

    Parameters
    ----------
    network : GraphView
        Float network, trained or not. It is prepared first: a trailing Softmax goes.
    nb_bits : int, 2 to 8
        Of the weights, and of the data that layers with weights read.
    activation_bits : int, optional
        Of the data, where they are others.
    first_bits, last_bits : int, optional
        Of weights and data of the first layers and of the last ones.
    layer_bits : mapping of ``LayerBits`` by name, optional
        Of single layers; the last word.
    joined_bits : int, 2 to 8
        Of tensors that an Add or a pool reads: 8, as in published results these stay in float.
    power_of_two : bool
        Train with steps that are powers of two, so that every layer of the integer network ends in
        one shift and computes exactly what was trained; pools whose count is no power of two keep a
        multiplier. A BatchNorm that trains gives each channel a shift of its own:
        ``align_batch_norms`` during training and ``freeze_batch_norms`` are then needed.
    fold_batch_norms : bool
        Fold BatchNorm before training; biases then train in the units of their accumulators, so
        that the integer network computes what was trained. Else BatchNorm trains, which serves
        depthwise layers and few bits, and becomes a factor for each channel at the end; call
        ``freeze_batch_norms`` before a last phase of training, so that nothing is lost then.
    channel_wise : bool
        Give every output channel of a weight a unit of its own: the step of the layer, which
        trains, times a constant that follows from the weights now, with ``power_of_two`` a power of
        two. Layers of 4 bits and fewer lose much less. Not for layers that only outputs of the
        network read, which keep their accumulator. Needs ``fold_batch_norms``.
    least_error : bool
        Begin with the steps that round weights and calibration with the least squared error, not
        with the published 2 mean|x| / sqrt(largest). Needs ``calibration``.
    calibration : array (batch, *shape), or a mapping of them by input name, optional
        Samples as the network is fed. They set the steps at once, and an input without negative
        values takes unsigned integers. Without them the input is signed and the first forward of
        ``fit`` sets the steps.

    Raises
    ------
    DataError, GraphError, UnsupportedError
        If an argument cannot be used or the network has nodes without an integer form.

    Notes
    -----
    Esser et al. 2020, arXiv 1902.08153. On every layer X: ``X_lsq_i`` on the data, ``X_lsq_p`` on
    the weight; without BatchNorm in training ``X_lsq_b`` on the bias. Steps are producers ``*_ss``,
    0 until the first forward. Beyond the published function, quantizers ``Y_lsq`` are where the
    integer network stores a tensor that an Add or a pool reads, and layers that read one tensor
    share its quantizer. Weights of 4 and 8 bits span -7 to 7 and -127 to 127, as integer networks
    store them.
    """
    twin = network.clone()
    if channel_wise and not fold_batch_norms:
        raise DataError("channel_wise needs fold_batch_norms: a BatchNorm scales every channel")
    if least_error and calibration is None:
        raise DataError("least_error needs calibration: steps follow from the data")
    require_bits(joined_bits, "joined_bits")
    prepare_training(twin, fold_batch_norms)
    default = LayerBits(nb_bits, nb_bits if activation_bits is None else activation_bits)
    bits = bits_of_layers(twin, default, layer_bits, first_bits, last_bits)
    signed = calibration is None or any(
        array.min() < 0 for array in calibration_feeds(twin, calibration).values()
    )
    if channel_wise:
        for layer in inner_layers(twin):
            separate_channels(twin, layer, weight_range(bits[layer].weight)[1], power_of_two)
    steps: dict[int, Node] = {}
    for site in find_sites(twin, bits, joined_bits, signed):
        count = site.bits
        bounds = (-(1 << (count - 1)), (1 << (count - 1)) - 1) if site.signed else (0, 2**count - 1)
        name = twin.unique_name(f"{site.name}_lsq_i" if site.of_layer else f"{site.name}_lsq")
        step = steps.get(site.group)
        if step is None:
            step = steps[site.group] = _step(twin, name)
        place(twin, site, LSQ(bounds, power_of_two), name, (step,))
    for layer, found in bits.items():
        name = twin.unique_name(f"{layer.name}_lsq_p")
        operator = LSQ(weight_range(found.weight), power_of_two)
        step = _step(twin, name)
        twin.insert_before(layer, 1, operator, name, (step,))
        if fold_batch_norms and layer.has_input(2):
            both = (quantizer_of(layer.input(0)).input(1), step)
            name = twin.unique_name(f"{layer.name}_lsq_b")
            twin.insert_before(layer, 2, BiasQuantizer(power_of_two), name, both)
    twin.check()
    if calibration is not None:
        initialize(twin, calibration, least_error=least_error)
    network.become(twin)


def _step(network: GraphView, name: str) -> Node:
    zero = Producer(np.zeros(1, np.float32))
    return network.add(zero, (), network.unique_name(f"{name}_ss"))
