"""What a model keeps of the integer network it was made from, as text under fixed keys."""

import json

import numpy as np

from aidge_quant._version import __version__
from aidge_quant.integer.network import IntegerNetwork

#: All keys begin with this.
PREFIX = "aidge_quant."
FORM = PREFIX + "form"
CONTRACT = PREFIX + "contract"
DIGEST = PREFIX + "digest"
TENSORS = PREFIX + "tensors"
REQUANTIZATION = PREFIX + "requantization"
VERSION = PREFIX + "version"


def describe(network: IntegerNetwork, form: str) -> dict[str, str]:
    """Return the metadata of a model made from ``network``.

    Parameters
    ----------
    network : IntegerNetwork
    form : {"qdq", "integer"}

    Returns
    -------
    dict of str to str
        Version and contract, the digest of the network, what a stored integer of every tensor
        means (JSON: scale and zero point by tensor), and the network's own metadata.
    """
    tensors = {
        tensor.name: {
            "dtype": tensor.dtype.value,
            "scale": np.asarray(tensor.scale, np.float64).tolist(),
            "zero_point": tensor.zero_point,
        }
        for tensor in network.tensors
    }
    found = {key: str(value) for key, value in network.metadata.items()}
    return found | {
        VERSION: __version__,
        CONTRACT: str(network.contract),
        DIGEST: network.digest,
        FORM: form,
        TENSORS: json.dumps(tensors, sort_keys=True, separators=(",", ":")),
    }
