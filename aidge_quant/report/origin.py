"""Which recipe made an integer network: it decides which remedies there are."""

from aidge_quant.graph import Metadata
from aidge_quant.integer.network import IntegerNetwork


def is_tuned(network: IntegerNetwork) -> bool:
    """Whether ``aidge_quant.quantize`` made the network: it clips and places ranges by itself."""
    return network.metadata.get(Metadata.RECIPE) == "quantize"
