"""Fit the layers one after the other: weights rounded by their effect, biases by their means."""

import numpy as np

from aidge_quant.graph import Node
from aidge_quant.integer.layers import Affine
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.ops import ConvTranspose, Sub
from aidge_quant.tuning.evaluation import Evaluation
from aidge_quant.tuning.numbers import resolve
from aidge_quant.tuning.precision import constant_reach, overflowing_rows, tensor_reach
from aidge_quant.tuning.realize import float_weight, integer_network, scaled_weight
from aidge_quant.tuning.rounding import exponents, refitted, round_weights
from aidge_quant.tuning.scheme import Scheme
from aidge_quant.tuning.skeleton import Site, Skeleton
from aidge_quant.tuning.statistics import Statistics
from aidge_quant.tuning.windows import tap_means, tap_rows

#: Rows that a refit of the weights needs for each tap: with fewer it fits the noise.
ROWS_PER_TAP = 8


def fit_layers(
    skeleton: Skeleton,
    scheme: Scheme,
    evaluation: Evaluation,
    statistics: Statistics,
    *,
    rounding: bool = False,
    halving: bool = False,
    refit: bool = False,
    rows: int = 8192,
    greedy: bool = True,
    seed: int = 0,
) -> Scheme:
    """Return the scheme with corrected biases and, on request, chosen exponents and weights.

    Each layer sees the inputs that the integer layers before it, already fitted, give. Transposed
    convolutions keep their nearest weights and their biases.

    Parameters
    ----------
    evaluation, statistics
        Of the same samples.
    rounding : bool
        Round the weights by the second moments of the layer's input; else they are nearest.
    halving : bool
        Choose the exponents of the weight scales too.
    refit : bool
        Before they are rounded, let the weights make up for the errors of the layer's input, where
        there are rows enough; ``statistics`` has the float inputs then.
    rows : int
        Positions of each layer that the second moments are taken of, drawn with ``seed``.
    greedy : bool
        See ``round_weights``.

    Notes
    -----
    Bias: ``b = E[W x] + b_float - s_w s_x E[q_w q_x]`` over samples and positions, the means of the
    float and of the integer network (Nagel et al. 2019, section 4.2); what a residual adds counts
    in both means.
    """
    rng = np.random.default_rng(seed)
    if halving:
        scheme = scheme.having(exponents={}, weights={})
    elif rounding:
        scheme = scheme.having(weights={})
    for site in skeleton.affine:
        node, top = skeleton.graph.node(site.node), scheme.largest_weight(site.name)
        if isinstance(node.operator, ConvTranspose):
            continue
        network = integer_network(skeleton, scheme)
        x, *added = (evaluation.tensor(network, name) for name in _layer(network, node).inputs)
        if rounding:
            moments = _moments(node, x, rows, rng)
            weight = float_weight(skeleton, site)
            if refit:
                unit = resolve(skeleton, scheme)[site.sources[0]].scale
                weight = _refitted(node, weight, x, statistics.inputs[site.name] / unit, rows, rng)
            if halving:
                found = _exponents(skeleton, scheme, site, weight, moments, top)
                scheme = scheme.having(exponents={**scheme.exponents, site.name: found})
            q = _rounded(skeleton, scheme, site, weight, moments, top, greedy)
            scheme = scheme.having(weights={**scheme.weights, site.name: q})
        bias = _bias(skeleton, scheme, site, node, x, statistics, top)
        if added:
            bias -= _added_means(skeleton, scheme, site, added[0])
        scheme = scheme.having(biases={**scheme.biases, site.name: bias})
    return scheme


def _layer(network: IntegerNetwork, node: Node) -> Affine:
    """Return the layer that stands for an affine node."""
    return next(
        layer
        for layer in network.layers
        if isinstance(layer, Affine) and layer.source[0] == node.name
    )


def _moments(node: Node, x: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return the centered second moments of the taps: float64 (groups, taps, taps)."""
    rows = tap_rows(node, x, count, rng)
    rows = (rows - rows.mean(axis=1, keepdims=True)).astype(np.float32)
    return (rows.transpose(0, 2, 1) @ rows).astype(np.float64) / rows.shape[1]


def _added_means(skeleton: Skeleton, scheme: Scheme, site: Site, added: np.ndarray) -> np.ndarray:
    """Return the mean that a residual adds to every channel: float64 (out,)."""
    unit = resolve(skeleton, scheme)[site.sources[1]].scale
    sign = -1 if isinstance(skeleton.graph.node(site.sum).operator, Sub) else 1
    others = tuple(axis for axis in range(added.ndim) if axis != 1)
    return sign * unit * added.mean(axis=others, dtype=np.float64)


def _refitted(
    node: Node,
    weight: np.ndarray,
    x: np.ndarray,
    wanted: np.ndarray,
    count: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the weight that makes up for the errors of the input, or as it was: too few rows.

    Parameters
    ----------
    x : int array (n, *shape)
    wanted : float array (m, *shape)
        What x stands for, in the same units; of the first samples.
    """
    seed = rng.integers(2**32)
    read, meant = (
        tap_rows(node, part[: len(wanted)], count, np.random.default_rng(seed))
        for part in (x, wanted)
    )
    groups, rows, taps = read.shape
    if rows < ROWS_PER_TAP * taps:
        return weight
    targets = _by_group(node, weight)
    found = [
        refitted(targets[g], *(part[g] - part[g].mean(axis=0) for part in (read, meant)))
        for g in range(groups)
    ]
    return np.stack(found).reshape(weight.shape)


def _by_group(node: Node, weight: np.ndarray) -> np.ndarray:
    """Return the weight (groups, out / groups, taps)."""
    groups = getattr(node.operator, "groups", 1)
    return weight.reshape(groups, weight.shape[0] // groups, -1)


def _exponents(
    skeleton: Skeleton,
    scheme: Scheme,
    site: Site,
    weight: np.ndarray,
    moments: np.ndarray,
    top: int,
) -> np.ndarray:
    node = skeleton.graph.node(site.node)
    numbers = resolve(skeleton, scheme)[site.name]
    target = _by_group(node, scaled_weight(node, weight, numbers))
    if numbers.weight_scale.ndim:
        choices = [
            exponents(rows, m, top, per_row=True) for rows, m in zip(target, moments, strict=True)
        ]
        return np.concatenate(choices)
    best, least = 0, np.inf
    for halvings in range(3):
        scaled = target * 2.0**halvings
        e = np.clip(np.floor(scaled + 0.5), -top, top) - scaled
        error = float(np.einsum("goi,gij,goj->", e, moments, e, optimize=True)) * 4.0**-halvings
        if error < least:
            best, least = halvings, error
    return np.asarray(best)


def _rounded(
    skeleton: Skeleton,
    scheme: Scheme,
    site: Site,
    weight: np.ndarray,
    moments: np.ndarray,
    top: int,
    greedy: bool,
) -> np.ndarray:
    node = skeleton.graph.node(site.node)
    resolved = resolve(skeleton, scheme)
    numbers = resolved[site.name]
    scaled = scaled_weight(node, weight, numbers)
    groups = zip(_by_group(node, scaled), moments, strict=True)
    rounded = np.stack([round_weights(rows, m, top, greedy=greedy) for rows, m in groups])
    rounded = rounded.reshape(scaled.shape)
    unit = numbers.weight_scale * resolved[site.sources[0]].scale
    added = resolved[site.sources[-1]].scale
    beside = constant_reach(skeleton, scheme, site, added) / unit
    # The network's own weight, rounded to nearest, has room in the accumulator
    # (``least_weight_scales``); another may not.
    over = overflowing_rows(rounded, beside, tensor_reach(skeleton, scheme, site.sources[0]))
    own = scaled_weight(node, float_weight(skeleton, site), numbers)
    rounded[over] = np.clip(np.floor(own[over] + 0.5), -top, top)
    return rounded


def _bias(
    skeleton: Skeleton,
    scheme: Scheme,
    site: Site,
    node: Node,
    x: np.ndarray,
    statistics: Statistics,
    top: int,
) -> np.ndarray:
    resolved = resolve(skeleton, scheme)
    numbers = resolved[site.name]
    q = scheme.weights.get(site.name)
    if q is None:
        weight = float_weight(skeleton, site)
        q = np.floor(scaled_weight(node, weight, numbers) + 0.5)
    q = _by_group(node, np.clip(q, -top, top))
    sums = np.einsum("goi,gi->go", q, tap_means(node, x)).ravel()
    unit = numbers.weight_scale * resolved[site.sources[0]].scale
    return statistics.means[site.name] - sums * unit
