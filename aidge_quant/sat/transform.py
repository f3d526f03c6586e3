"""From the trained network to one of integers."""

from aidge_quant.graph import GraphView
from aidge_quant.qat.transform import to_integers


def post_training_transform(
    network: GraphView, true_integers: bool, *, fine_biases: bool = True
) -> None:
    """Replace, in place, the nodes of SAT by Quantizers of integer networks.

    A failure leaves the network as it was. ``aidge_quant.lower`` takes the result.

    Parameters
    ----------
    network : GraphView
        Trained with ``insert_sat_nodes``, ``insert_param_quantizers`` and
        ``insert_activ_quantizers``.
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
        If a bound is not positive, or a tensor has no quantizer.
    UnsupportedError
        If a weight has no quantizer.

    Notes
    -----
    Jin et al. 2020, arXiv 1912.10207. Weights become R times the levels of DoReFa, so TanhClamp is
    part of them; ScaleAdjust, and a BatchNorm for each channel, become part of the scale behind the
    layer: s_in s_w factor / s_out with s_in = alpha / R.
    """
    to_integers(network, true_integers, "sat.post_training_transform", fine_biases=fine_biases)
