"""From the trained network to one of integers."""

from aidge_quant.graph import GraphView
from aidge_quant.qat.transform import to_integers


def post_training_transform(
    network: GraphView, true_integers: bool, *, fine_biases: bool = True
) -> None:
    """Replace, in place, the FixedQ nodes of a trained network by Quantizers of integer networks.

    A failure leaves the network as it was. ``aidge_quant.lower`` takes the result.

    Parameters
    ----------
    network : GraphView
        After ``setup_quantizers`` and training.
    true_integers, fine_biases : bool
        As of ``lsq.post_training_transform``.

    Raises
    ------
    GraphError
        If a tensor has no quantizer.
    UnsupportedError
        If a weight has no quantizer.

    Notes
    -----
    All steps are powers of two, so every scale behind a layer is a shift. A weight that takes the
    least integer of 4 or of 8 bits is stored in the next larger type.
    """
    to_integers(
        network, true_integers, "fixed_point.post_training_transform", fine_biases=fine_biases
    )
