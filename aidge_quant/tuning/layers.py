"""Fit the layers one after the other: weights rounded by their effect, biases by their means."""

from collections.abc import Collection, Mapping

import numpy as np

from aidge_quant.graph import Node
from aidge_quant.tuning.biases import corrected, corrected_bias, layer_means, layer_of
from aidge_quant.tuning.evaluation import Evaluation
from aidge_quant.tuning.numbers import resolve
from aidge_quant.tuning.precision import constant_reach, overflowing_rows, tensor_reach
from aidge_quant.tuning.realize import float_weight, integer_network, scaled_weight
from aidge_quant.tuning.rounding import halving_errors, refitted, round_weights
from aidge_quant.tuning.scheme import Scheme
from aidge_quant.tuning.skeleton import Site, Skeleton
from aidge_quant.tuning.statistics import Statistics
from aidge_quant.tuning.windows import by_group, tap_moments, tap_rows

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
    only: Collection[str] | None = None,
) -> Scheme:
    """Return the scheme with corrected biases and, on request, chosen exponents and weights.

    Each layer sees the inputs that the integer layers before it, already fitted, give. Transposed
    convolutions keep their nearest weights and their biases.

    Parameters
    ----------
    evaluation, statistics
        Of the same samples, those of the evaluation first.
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
    only : collection of str, optional
        Sites that are fitted; the others stay as they are.
    """
    rng = np.random.default_rng(seed)
    chosen = [site for site in corrected(skeleton) if only is None or site.name in only]
    if halving:
        scheme = scheme.having(exponents=_without(scheme.exponents, chosen))
    if halving or rounding:
        scheme = scheme.having(weights=_without(scheme.weights, chosen))
    for site in chosen:
        node, top = skeleton.graph.node(site.node), scheme.largest_weight(site.name)
        network = integer_network(skeleton, scheme)
        names = layer_of(skeleton, network, site).inputs
        arrays = [evaluation.tensor(network, name) for name in names]
        x = arrays[0]
        if rounding:
            moments = tap_moments(node, x, rows, rng)
            weight = float_weight(skeleton, site)
            if refit:
                unit = resolve(skeleton, scheme)[site.sources[0]].scale
                weight = _refitted(node, weight, x, statistics.inputs[site.name] / unit, rows, rng)
            if halving:
                found = _exponents(skeleton, scheme, site, weight, moments, top)
                scheme = scheme.having(exponents={**scheme.exponents, site.name: found})
            q = rounded_weight(skeleton, scheme, site, weight, moments, greedy=greedy)
            scheme = scheme.having(weights={**scheme.weights, site.name: q})
        resolved = resolve(skeleton, scheme)
        means = layer_means(skeleton, resolved, site, arrays)
        wanted = statistics.mean(site.name, evaluation.count)
        bias = corrected_bias(skeleton, scheme, resolved[site.name], site, means, wanted)
        scheme = scheme.having(biases={**scheme.biases, site.name: bias})
    return scheme


def _without(values: Mapping[str, np.ndarray], sites: list[Site]) -> dict[str, np.ndarray]:
    left_out = {site.name for site in sites}
    return {name: value for name, value in values.items() if name not in left_out}


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
    targets = by_group(node, weight)
    found = [
        refitted(targets[g], *(part[g] - part[g].mean(axis=0) for part in (read, meant)))
        for g in range(groups)
    ]
    return np.stack(found).reshape(weight.shape)


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
    target = by_group(node, scaled_weight(node, weight, numbers))
    errors = halving_errors(target, moments, top)
    if numbers.weight_scale.ndim:
        return errors.argmin(axis=0).ravel()
    return np.asarray(errors.sum(axis=(1, 2)).argmin())


def rounded_weight(
    skeleton: Skeleton,
    scheme: Scheme,
    site: Site,
    weight: np.ndarray,
    moments: np.ndarray,
    *,
    greedy: bool,
) -> np.ndarray:
    """Return the integers, as float64 in the layout of the graph, of one layer's real weight."""
    node, top = skeleton.graph.node(site.node), scheme.largest_weight(site.name)
    resolved = resolve(skeleton, scheme)
    numbers = resolved[site.name]
    scaled = scaled_weight(node, weight, numbers)
    rounded = round_weights(by_group(node, scaled), moments, top, greedy=greedy)
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
