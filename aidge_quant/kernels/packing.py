"""Weights and constants of a layer in the order in which the steps of the engine read them.

Said there: ``_kernels/host/engine.h`` and the headers of the tiles and of the depthwise step.
"""

import math
from dataclasses import dataclass

import numpy as np

#: Values of a chunk; AQ_DEPTHWISE of engine.h.
CHUNK = 64
#: Where less of the chunks of pixels is used than this, the values of a row are cut whatever their
#: pixels: that takes about 1.4 times as long for a chunk, which shares no columns with the next.
_WELL_FILLED = 0.72
#: But not in more phases than this, whose weights stay in the first cache.
_MOST_PHASES = 16


def up(value: int, multiple: int) -> int:
    """Return the least multiple that is not below a value."""
    return -(-value // multiple) * multiple


def entries_of(groups: int, count: int, room: int) -> np.ndarray:
    """Return the channel of each entry of arrays that have ``room`` for those of every group.

    Entries behind the ``count`` channels of a group have the last of them.

    Returns
    -------
    int array (groups * room,)
    """
    inside = np.minimum(np.arange(room), count - 1)
    return (np.arange(groups)[:, None] * count + inside).reshape(-1)


def spread(values: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """Return the value of the channel of each entry.

    Parameters
    ----------
    values : int32 array (1,) or (all channels,)
    entries : int array, channels

    Returns
    -------
    int32 array (entries,)
    """
    return np.broadcast_to(values, entries.max() + 1)[entries].astype(np.int32)


def taps_of_runs(weight: np.ndarray, groups: int, joined: bool, quad: int) -> np.ndarray:
    """Return weights as runs of values that lie side by side in an image, in whole quads.

    Parameters
    ----------
    weight : int array (out, kernel height, kernel width, in / groups)
    joined : bool
        Whether the taps of a row of the kernel are one run.
    quad : int
        Values that are multiplied at once, 4 of one byte or 2 of two.

    Returns
    -------
    array (groups, out / groups, runs, values of a run and zeros) of the same type
    """
    out, height, width, depth = weight.shape
    runs, run = (height, width * depth) if joined else (height * width, depth)
    taps = np.zeros((groups, out // groups, runs, up(run, quad)), weight.dtype)
    taps[..., :run] = weight.reshape(groups, out // groups, runs, run)
    return taps


def pack_tiles(taps: np.ndarray, quad: int, lanes: int, vectors: int) -> tuple[np.ndarray, int]:
    """Return weights in the order in which tiles read them, and the vectors of a block.

    Parameters
    ----------
    taps : int array (groups, outputs, runs, values)
    lanes, vectors : int
        Outputs of a vector, and most vectors of a block.

    Returns
    -------
    (uint8 array [group][block][step][vector][lane][quad], int)
    """
    groups, outputs, *_ = taps.shape
    count = up(outputs, lanes) // lanes
    full = np.zeros((groups, count * lanes, *taps.shape[2:]), f"i{4 // quad}")
    full[:, :outputs] = taps
    full = full.reshape(groups, count, lanes, -1, quad)
    block = -(-count // -(-count // vectors))  # as few blocks as can be, of equal size
    blocks = [
        full[:, v : v + block].transpose(0, 3, 1, 2, 4).reshape(groups, -1)
        for v in range(0, count, block)
    ]
    return np.concatenate(blocks, axis=1).reshape(-1).view(np.uint8), block


def pack_channels(weight: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """Return depthwise weights, [block of channels][tap][channel] of int16, as uint8.

    Parameters
    ----------
    weight : int array (kernel height, kernel width, channels)
    entries : int array, channels, a multiple of CHUNK of them
    """
    taps = weight.reshape(-1, weight.shape[2])[:, entries].astype(np.int16)
    blocks = taps.reshape(len(taps), -1, CHUNK).transpose(1, 0, 2)
    return np.ascontiguousarray(blocks).reshape(-1).view(np.uint8)


@dataclass(frozen=True)
class Chunks:
    """How the rows of a depthwise convolution of int8 are cut.

    Attributes
    ----------
    entries : int array (phases * CHUNK,)
        Channels.
    pitch, source_pitch : int
        Values from a chunk to the next one of its phase, in the output and in the copied row.
    planes : int
        The pixels of a copied row lie in so many planes: those at multiples of it, the next...
    """

    entries: np.ndarray
    pitch: int
    source_pitch: int
    planes: int

    @classmethod
    def of(cls, channels: int, stride: int) -> "Chunks":
        """Return the chunks for so many channels and a stride along the row."""
        by_pixel = entries_of(1, channels, up(channels, CHUNK))
        repeated = math.lcm(channels, CHUNK)
        if channels >= _WELL_FILLED * len(by_pixel) or repeated > _MOST_PHASES * CHUNK:
            return cls(by_pixel, channels, channels * stride, 1)
        return cls(np.arange(repeated) % channels, repeated, repeated, stride)

    @property
    def phases(self) -> int:
        """Number of chunks with weights of their own."""
        return len(self.entries) // CHUNK

    def columns(self, width: int, dilation: int, channels: int, row: int) -> np.ndarray:
        """Return where the columns of a window lie in a copied row of ``row`` pixels, in values."""
        steps = np.arange(width) * dilation
        plane = -(-row // self.planes)
        columns = (steps % self.planes * plane + steps // self.planes) * channels
        return columns.astype(np.int32)

    def row_values(self, channels: int, row: int) -> int:
        """Return the room for a copied row of ``row`` pixels, in values."""
        return up(-(-row // self.planes) * self.planes * channels, CHUNK)

    def pack(self, weight: np.ndarray) -> np.ndarray:
        """Return weights, [phase][4 rows][column][quarter][lane][row] of int8, as uint8.

        Parameters
        ----------
        weight : int8 array (kernel height, kernel width, channels)
        """
        height, width, _ = weight.shape
        taps = np.zeros((up(height, 4), width, len(self.entries)), np.int8)
        taps[:height] = weight[:, :, self.entries]
        split = taps.reshape(-1, 4, width, self.phases, 4, 4, 4)
        packing = split.transpose(3, 0, 2, 5, 4, 6, 1)
        return np.ascontiguousarray(packing).reshape(-1).view(np.uint8)


def by_quarters(values: np.ndarray) -> np.ndarray:
    """Return an array of chunks in the order of the quarters.

    Parameters
    ----------
    values : int32 array (phases * CHUNK,)
    """
    return np.ascontiguousarray(values.reshape(-1, 4, 4, 4).transpose(0, 2, 1, 3)).reshape(-1)
