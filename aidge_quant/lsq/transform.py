"""From the trained network to one of integers."""

from aidge_quant.graph import GraphView
from aidge_quant.qat.transform import to_integers


def post_training_transform(
    network: GraphView, true_integers: bool, *, fine_biases: bool = True
) -> None:
    """Replace, in place, the LSQ nodes of a trained network by Quantizers of integer networks.

    A failure leaves the network as it was. ``aidge_quant.lower`` takes the result.

    Parameters
    ----------
    network : GraphView
        After ``setup_quantizers`` and training.
    true_integers : bool
        Give tensors and parameters integer types: int8 or uint8, int4 or uint4 up to 4 bits, int32
        for biases and accumulators. Else they are floats that hold the same integers.
    fine_biases : bool
        Where rounding the bias to the accumulator's unit would move the output by more than 1/64 of
        its step, as in depthwise layers of few bits, multiply weights and bias by a power of two;
        such weights are stored as int8.

    Raises
    ------
    GraphError
        If a step was never set, or a tensor has no quantizer.
    UnsupportedError
        If a weight has no quantizer.

    Notes
    -----
    With steps s of input, weight and output: input quantizer 1 / s_in; weights round(w / s_w); bias
    round(b / (s_in s_w)); behind a layer s_in s_w / s_out, and a shift where that is a power of
    two. A BatchNorm multiplies it for each channel. The factor s_in s_w of the output is not
    multiplied but noted (``Annotation.SCALE``): the network returns the accumulator of its last
    layer, ``IntegerNetwork.dequantize_output`` the real values. An Add multiplies its operands with
    the ratio of their steps to that of the sum, in 2^-k.
    """
    to_integers(network, true_integers, "lsq.post_training_transform", fine_biases=fine_biases)
