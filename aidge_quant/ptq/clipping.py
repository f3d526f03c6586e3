"""Clip ranges: trade the error of large values against the resolution of all others."""

import enum
from collections.abc import Callable, Mapping

import numpy as np

from aidge_quant.errors import DataError
from aidge_quant.graph import GraphView, Node
from aidge_quant.ptq.calibration import Calibration
from aidge_quant.ptq.flow import logger, precision
from aidge_quant.ptq.ranges import observe_nodes

BINS = 4096
GRID = np.arange(1, 100) / 100
#: Added to probabilities where a divergence would be infinite.
TINY = 1e-12


class Clipping(enum.Enum):
    """How ``adjust_ranges`` chooses the range of a scaling node."""

    MAX = 1  #: the largest magnitude
    MSE = 2  #: least squared error
    AA = 3  #: least absolute error
    KL = 4  #: least Kullback-Leibler divergence
    SIGMA3 = 5  #: three times the root mean square
    SIGMA4 = 6  #: four times the root mean square
    SIGMA5 = 7  #: five times the root mean square


SIGMAS = {Clipping.SIGMA3: 3.0, Clipping.SIGMA4: 4.0, Clipping.SIGMA5: 5.0}


def adjust_ranges(
    clipping_mode: Clipping,
    value_ranges: Mapping[Node, float],
    network: GraphView,
    calibration_set: Calibration,
    verbose: bool = False,
) -> dict[Node, float]:
    """Return the ranges corrected by the clipping that serves each node best.

    Parameters
    ----------
    clipping_mode : Clipping
    value_ranges : dict of Node to float
        From ``compute_ranges``, on the same network and calibration set.
    network : GraphView
    calibration_set : list of Tensor or array, or one array
    verbose : bool
        Log the clipping of every node.

    Returns
    -------
    dict of Node to float

    Raises
    ------
    DataError
        If ``clipping_mode`` is not a Clipping.

    Notes
    -----
    MSE, AA and KL choose a factor c from 0.01, 0.02 ... 0.99 by the histogram of |x| / range with
    4096 bins, bin = min(floor(4096 |x| / range + 0.5), 4095). MSE and AA minimize ``sum_b h_b |x_b
    - q_c(x_b)|^p`` with p = 2 and 1, ``x_b = (b + 0.5) / 4096``, ``q_c(x) = floor(min(x, c) Q / c +
    0.5) c / Q``, Q = 127 for 8 bits; the first minimum wins. KL minimizes the divergence of the
    histogram, with what lies beyond c put into the last bin, from its quantization to Q + 1 levels
    (Migacz, GTC 2017). SIGMA3, 4 and 5 return k times the root mean square of the node's output.
    """
    if not isinstance(clipping_mode, Clipping):
        raise DataError(
            f"clipping_mode: expected a Clipping such as Clipping.MSE, got {clipping_mode!r}"
        )
    if clipping_mode is Clipping.MAX:
        return dict(value_ranges)
    if clipping_mode in SIGMAS:
        factors = _sigma_factors(SIGMAS[clipping_mode], value_ranges, network, calibration_set)
    else:
        losses = {
            Clipping.MSE: _power_loss(2),
            Clipping.AA: _power_loss(1),
            Clipping.KL: _divergence,
        }
        loss = losses[clipping_mode]
        histograms = compute_histograms(value_ranges, network, calibration_set)
        factors = {
            node: best_clipping(histogram, precision(node).max, loss)
            for node, histogram in histograms.items()
        }
    if verbose:
        for node, factor in factors.items():
            logger.info(
                "%s: range %g, clipped at %.3f of it", node.name, value_ranges[node], factor
            )
    return {node: found * factors.get(node, 1.0) for node, found in value_ranges.items()}


def compute_histograms(
    value_ranges: Mapping[Node, float], network: GraphView, calibration_set: Calibration
) -> dict[Node, np.ndarray]:
    """Return the histogram of |x| / range of every node given: int64 array (4096,)."""
    histograms = {node: np.zeros(BINS, np.int64) for node, r in value_ranges.items() if r > 0}

    def record(node: Node, array: np.ndarray) -> None:
        if node in histograms:
            scaled = np.abs(array).ravel() * np.float32(BINS / value_ranges[node])
            bins = np.minimum(scaled + np.float32(0.5), BINS - 1).astype(np.int64)
            histograms[node] += np.bincount(bins, minlength=BINS)

    observe_nodes(network, calibration_set, record)
    return histograms


Loss = Callable[[np.ndarray, float, int], float]


def best_clipping(histogram: np.ndarray, levels: int, loss: Loss) -> float:
    """Return the factor of the grid with the least loss, the first one on a tie."""
    return float(GRID[int(np.argmin([loss(histogram, c, levels) for c in GRID]))])


def _power_loss(power: int) -> Loss:
    centers = (np.arange(BINS) + 0.5) / BINS

    def loss(histogram: np.ndarray, c: float, levels: int) -> float:
        quantized = np.floor(np.minimum(centers, c) * (levels / c) + 0.5) * (c / levels)
        return float(np.sum(histogram * np.abs(centers - quantized) ** power))

    return loss


def _divergence(histogram: np.ndarray, c: float, levels: int) -> float:
    """Return the divergence of the clipped histogram from its quantization.

    Bin 0 is left out: zero has a level of its own whatever the clipping, and behind a ReLU its
    count would outweigh everything else.
    """
    kept = max(int(np.floor(c * BINS + 0.5)), 2)
    reference = histogram[:kept].astype(np.float64)
    reference[0] = 0
    present = reference > 0
    # Levels 0 to Q; level 0 owns half an interval, as rounding does it.
    owner = np.floor((np.arange(kept) + 0.5) * (levels / kept) + 0.5).astype(np.int64)
    total = np.bincount(owner, reference, minlength=levels + 1)
    members = np.bincount(owner, present, minlength=levels + 1)
    spread = np.where(present, (total / np.maximum(members, 1))[owner], 0.0)
    reference[-1] += histogram[kept:].sum()
    p = reference / max(reference.sum(), 1)
    q = spread / max(spread.sum(), 1)
    where = p > 0
    return float(np.sum(p[where] * np.log(p[where] / np.maximum(q[where], TINY))))


def _sigma_factors(
    multiple: float,
    value_ranges: Mapping[Node, float],
    network: GraphView,
    calibration: Calibration,
) -> dict[Node, float]:
    squares: dict[Node, float] = {}
    counts: dict[Node, int] = {}

    def record(node: Node, array: np.ndarray) -> None:
        squares[node] = squares.get(node, 0.0) + float(np.sum(array.astype(np.float64) ** 2))
        counts[node] = counts.get(node, 0) + array.size

    observe_nodes(network, calibration, record)
    return {
        node: multiple * (squares[node] / counts[node]) ** 0.5 / found
        for node, found in value_ranges.items()
        if found > 0 and node in squares
    }
