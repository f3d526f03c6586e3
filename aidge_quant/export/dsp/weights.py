"""Weights of two channels in words, and the forms of the products with them."""

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.integer.layers import Affine
from aidge_quant.integer.network import IntegerNetwork

# Sums of second channels that, times 256, are known modulo 2^32.
_NARROW = 1 << 23


def largest_sum(layer: Affine, network: IntegerNetwork) -> int:
    """Return a bound on the size of the sums of a layer."""
    reach = -network.tensor(layer.inputs[0]).dtype.min
    rows = np.abs(layer.weight.astype(np.int64)).reshape(layer.weight.shape[0], -1)
    bounds = np.abs(layer.bias.astype(np.int64)) + reach * rows.sum(axis=1)
    if layer.residual is not None:
        bounds = bounds + reach * np.abs(layer.residual.astype(np.int64))
    return int(bounds.max())


def form_of(layer: Affine, network: IntegerNetwork) -> str:
    """Return the form of the inner products.

    "narrow" where two channels share an accumulator, "wide" where a sum may need more than the 24
    bits that this leaves, "int4" for weights of 4 bits.
    """
    if layer.weight_dtype is dtype.int4:
        return "int4"
    small = network.tensor(layer.inputs[0]).dtype is dtype.int8
    return "narrow" if small and largest_sum(layer, network) < _NARROW else "wide"


def interleave(weight: np.ndarray, wide: bool) -> np.ndarray:
    """Return the words that the inner products read.

    Two channels and four taps make two words, for taps 0 and 2 and for taps 1 and 3. The low half
    of a word belongs to the first of its taps, the high half to the second. A half holds, if
    ``wide``, the weight of the first channel in its low byte and that of the second in its high
    byte; else the first plus 256 times the second, which has the first in its low byte too.

    Parameters
    ----------
    weight : int8 array (out, taps)
        Filled up to an even number of channels with the last one, and to a multiple of 4 taps
        with zeros.

    Returns
    -------
    int32 array (ceil(out / 2), 2 * ceil(taps / 4))
    """
    out, taps = weight.shape
    padded = np.zeros((-(-out // 2) * 2, -(-taps // 4) * 4), np.int64)
    padded[:out, :taps] = weight
    padded[out:] = padded[out - 1]
    # (pairs of channels, 2, quads, second or first tap of a half, word of the quad)
    quads = padded.reshape(padded.shape[0] // 2, 2, -1, 2, 2)
    first, second = quads[:, 0], quads[:, 1]
    halves = ((first & 255) if wide else first) + 256 * second
    words = (halves[:, :, 0, :] & 0xFFFF) | ((halves[:, :, 1, :] & 0xFFFF) << 16)
    return words.reshape(words.shape[0], -1).astype(np.uint32).view(np.int32)


def pack_nibbles(words: np.ndarray) -> np.ndarray:
    """Return one word for two: the high halves of its bytes are weights of the first.

    Parameters
    ----------
    words : int32 array (pairs of channels, even number of words)
        As `interleave` gives them in the wide form, of weights from -8 to 7.

    Returns
    -------
    int32 array (pairs of channels, half as many words)
    """
    low = words.view(np.uint32) & np.uint32(0x0F0F0F0F)
    return ((low[:, 0::2] << np.uint32(4)) | low[:, 1::2]).view(np.int32)
