"""Joint search of the scales: coordinate descent on the error at the outputs."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.tuning.biases import LayerMeans, all_layer_means, corrected, corrected_bias
from aidge_quant.tuning.evaluation import Evaluation
from aidge_quant.tuning.numbers import resolve
from aidge_quant.tuning.realize import integer_network
from aidge_quant.tuning.scheme import Scheme, Span
from aidge_quant.tuning.skeleton import Skeleton
from aidge_quant.tuning.statistics import Statistics

#: A candidate must lower the error by this share, in both halves of the samples taken together.
LEAST_GAIN = 0.002


def search_scales(
    skeleton: Skeleton,
    scheme: Scheme,
    evaluation: Evaluation,
    statistics: Statistics,
    *,
    steps: tuple[float, ...],
    progress: Callable[[str, float], None],
) -> Scheme:
    """Return the scheme with intervals that lower the output error, one group after the other.

    Parameters
    ----------
    evaluation, statistics
        Of the same samples, those of the evaluation first.
    steps : tuple of float
        One sweep each: intervals are tried multiplied by ``2**step`` and ``2**-step``, weight
        scales halved and doubled.
    progress : callable
        Told the name of the step and the share done, 0 to 1.

    Notes
    -----
    A candidate moves weights to other grids, and with them means: the biases of its changed layers
    are corrected for the mean inputs that the sweep began with. The mean error of each output does
    not count, since the last bias takes it up. A candidate is taken only if the error falls in both
    halves of the samples: single samples do not decide.
    """
    total, done = len(steps) * len(scheme.spans), 0
    for step in steps:
        means = all_layer_means(skeleton, scheme, evaluation)
        error = _halves(evaluation, integer_network(skeleton, scheme))
        for group in list(scheme.spans):
            for changed in _candidates(skeleton, scheme, group, step):
                candidate = _with_biases(skeleton, scheme, changed, means, evaluation, statistics)
                found = _halves(evaluation, integer_network(skeleton, candidate))
                falls = found[0] < error[0] and found[1] < error[1]
                if falls and sum(found) < (1 - LEAST_GAIN) * sum(error):
                    scheme, error = candidate, found
            done += 1
            progress("scale search", done / total)
    return scheme


def _with_biases(
    skeleton: Skeleton,
    before: Scheme,
    scheme: Scheme,
    means: Mapping[str, LayerMeans],
    evaluation: Evaluation,
    statistics: Statistics,
) -> Scheme:
    """Return a scheme with the biases corrected of the layers whose weights it has changed."""
    old, new = resolve(skeleton, before), resolve(skeleton, scheme)
    biases = dict(scheme.biases)
    for site in corrected(skeleton):
        numbers = new[site.name]
        if not np.array_equal(numbers.weight_scale, old[site.name].weight_scale):
            wanted = statistics.mean(site.name, evaluation.count)
            known = means[site.name]
            biases[site.name] = corrected_bias(skeleton, scheme, numbers, site, known, wanted)
    return scheme.having(biases=biases)


def _candidates(skeleton: Skeleton, scheme: Scheme, group: str, step: float) -> Iterator[Scheme]:
    """Yield schemes that differ in one interval, or in the exponents of one layer's weight."""
    for span in _spans(scheme.spans[group], step):
        yield scheme.with_span(group, span)
    for site in skeleton.affine:
        if site.group == group:
            exponents = np.asarray(scheme.exponents.get(site.name, 0))
            for change in (1, -1):
                changed = np.maximum(exponents + change, 0)
                if (changed != exponents).any():
                    yield scheme.having(exponents={**scheme.exponents, site.name: changed})


def _spans(span: Span, step: float) -> list[Span]:
    found = [span.scaled(2.0**-step), span.scaled(2.0**step)]
    if span.low < 0 < span.high:  # each end by itself
        found += [Span(span.low * 2.0**-step, span.high), Span(span.low, span.high * 2.0**-step)]
    return found


def _halves(evaluation: Evaluation, network: IntegerNetwork) -> tuple[float, float]:
    errors = evaluation.errors(network, centered=True)
    return float(errors[::2].sum()), float(errors[1::2].sum())
