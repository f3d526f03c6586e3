"""The whole post-training quantization: the list of its steps."""

from collections.abc import Mapping
from numbers import Real

import numpy as np

from aidge_quant.errors import DataError, DtypeError
from aidge_quant.graph import Annotation, GraphView
from aidge_quant.ops import Quantizer
from aidge_quant.ops.quantization import HALF_UP
from aidge_quant.ptq.activations import InputRange, normalize_activations
from aidge_quant.ptq.architecture import require_supported
from aidge_quant.ptq.biases import add_missing_biases, channel_means, shift_biases
from aidge_quant.ptq.calibration import (
    Calibration,
    CalibrationBatches,
    calibration_batches,
    require_signal,
)
from aidge_quant.ptq.casting import cast_quantized_network
from aidge_quant.ptq.clipping import Clipping, adjust_ranges
from aidge_quant.ptq.compensation import insert_compensation_nodes
from aidge_quant.ptq.dequantization import perform_dequantization
from aidge_quant.ptq.equalization import cross_layer_equalization
from aidge_quant.ptq.flow import logger, precision
from aidge_quant.ptq.folding import fold_producer_quantizers
from aidge_quant.ptq.parameters import normalize_parameters
from aidge_quant.ptq.precision import (
    agree_on_precision,
    complete_precision,
    require_table_types,
)
from aidge_quant.ptq.prepare import prepare_network
from aidge_quant.ptq.quantization import quantize_normalized_network
from aidge_quant.ptq.ranges import compute_ranges
from aidge_quant.ptq.scaling import insert_scaling_nodes
from aidge_quant.ptq.single_shift import perform_single_shift_approximation


def quantize_network(
    network: GraphView,
    calibration_set: Calibration,
    clipping_mode: Clipping = Clipping.MAX,
    equalize: bool = True,
    channel_wise: bool = False,
    no_quant: bool = False,
    optimize_signs: bool = False,
    single_shift: bool = False,
    fold_graph: bool = True,
    fake_quantize: bool = False,
    dequantize: bool = False,
    verbose: bool = False,
    *,
    rescale_inputs: bool = False,
    input_range: InputRange | None = None,
    correct_biases: bool = False,
) -> None:
    """Quantize a network in place: every step of post-training quantization in order.

    A failure leaves the network as it was.

    Parameters
    ----------
    network : GraphView
        Float network whose nodes have a precision (``auto_assign_node_precision``).
    calibration_set : list of Tensor or array, or one array, or any iterable
        Samples as the float network is fed, batch axis first.
    clipping_mode : Clipping
        How activation ranges are clipped.
    equalize : bool
        Whether to equalize the weights of consecutive layers.
    channel_wise : bool
        One weight scale for each output channel instead of one for the tensor.
    no_quant : bool
        Scale only, without rounding, clipping and casting: for measuring.
    optimize_signs : bool
        Unsigned integers where an activation needs no negative value.
    single_shift : bool
        Power-of-two scales, so that each layer ends in one shift; weights make up for the
        difference.
    fold_graph : bool
        Whether parameters become constants.
    fake_quantize : bool
        Keep floats that hold the integers; average pools then keep the fraction of their means,
        which the integer network rounds.
    dequantize : bool
        Let the network return real values on the scale of the float network.
    verbose : bool
        Log details, through the logger ``aidge_quant``.
    rescale_inputs : bool
        Insert a quantizer at every input, so that the network takes the real values of the float
        network.
    input_range : float, or dict by input name, or None
        The magnitude that the largest input integer stands for. None: 1 when every calibration
        value of that input lies in [-1, 1], else the largest magnitude found.
    correct_biases : bool
        Shift the bias of every layer with weights so that, on the calibration set, the means of its
        channels are those of the float network.

    Raises
    ------
    UnsupportedError
        If the architecture cannot be quantized: every node with reason and remedy; or if no layer
        has a precision that is annotated.
    GraphError
        If no node has a precision.
    DataError, ShapeError, DtypeError
        If the calibration set is empty, holds NaN or nothing but zeros, or does not fit the
        network.

    Notes
    -----
    Without ``rescale_inputs`` the quantized network takes integers floor(127 x / input_range +
    0.5).
    """
    quantized = network.clone()
    require_supported(quantized)
    batches = calibration_batches(quantized, calibration_set)
    require_signal(batches)
    prepare_network(quantized)
    if correct_biases:
        add_missing_biases(quantized)
    complete_precision(quantized)
    measured = _input_ranges(quantized, batches, input_range)
    if equalize:
        cross_layer_equalization(quantized)
    insert_scaling_nodes(quantized, channel_wise)
    agree_on_precision(quantized)
    if not (fake_quantize or no_quant):
        require_table_types(quantized)
    means = channel_means(quantized, batches) if correct_biases else {}
    normalize_parameters(quantized, channel_wise)
    ranges = compute_ranges(quantized, batches, True)
    ranges = adjust_ranges(clipping_mode, ranges, quantized, batches, verbose)
    normalize_activations(quantized, ranges, input_range=measured)
    quantize_normalized_network(
        quantized, no_quant, optimize_signs, verbose, single_shift=single_shift
    )
    if rescale_inputs:
        _insert_input_quantizers(quantized, no_quant)
    if dequantize:
        perform_dequantization(quantized)
    if single_shift:
        insert_compensation_nodes(quantized)
        perform_single_shift_approximation(quantized)
    if correct_biases and not no_quant:
        shift_biases(quantized, means, batches)
    if not fake_quantize:
        cast_quantized_network(quantized, single_shift, dequantize)
    if fold_graph:
        fold_producer_quantizers(quantized)
    quantized.check()
    network.become(quantized)


def _input_ranges(
    network: GraphView, batches: CalibrationBatches, given: InputRange | None
) -> dict[str, float]:
    """Return the range of every input: as given, else 1, else as measured."""
    names = [node.name for node in network.inputs]
    if isinstance(given, Mapping) and not set(given) <= set(names):
        raise DataError(f"input_range names {sorted(given)}, expected inputs among {names}")
    ranges = {}
    for node in network.inputs:
        value = given.get(node.name) if isinstance(given, Mapping) else given
        if value is None:
            largest = max(float(np.abs(batch[node.name]).max()) for batch in batches)
            value = max(largest, 1.0)
            if value > 1:
                logger.info("input %s reaches %g, which becomes its range", node.name, value)
        elif isinstance(value, bool) or not isinstance(value, Real):
            raise DtypeError(
                f"input_range of {node.name}: expected a number, got {type(value).__name__}"
            )
        elif not (np.isfinite(value) and value > 0):
            raise DataError(f"input_range of {node.name}: expected a positive number, got {value}")
        ranges[node.name] = float(value)
    return ranges


def _insert_input_quantizers(network: GraphView, no_quant: bool) -> None:
    for node in network.inputs:
        scale = node.annotations[Annotation.SCALE]
        element_type = precision(node)
        clip = None if no_quant else (element_type.min, element_type.max)
        operator = Quantizer(1 / scale, clip, None if no_quant else HALF_UP)
        added = network.insert_after(node, operator, network.unique_name(f"{node.name}_Scaling"))
        added.annotations.update(node.annotations)
        added.annotations[Annotation.IS_ACTIVATION_QUANTIZER] = True
        del node.annotations[Annotation.SCALE]  # the input itself stays real
