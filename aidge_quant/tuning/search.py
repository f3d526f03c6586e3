"""Joint search of the scales: coordinate descent on the error at the outputs."""

from collections.abc import Callable, Iterator

import numpy as np

from aidge_quant.tuning.biases import LayerMeans, corrected, corrected_bias, layer_means, layer_of
from aidge_quant.tuning.evaluation import Evaluation
from aidge_quant.tuning.layers import rounded_weight
from aidge_quant.tuning.numbers import resolve
from aidge_quant.tuning.realize import float_weight, integer_network
from aidge_quant.tuning.scheme import Scheme, Span
from aidge_quant.tuning.skeleton import Skeleton
from aidge_quant.tuning.statistics import Statistics
from aidge_quant.tuning.windows import tap_moments

#: A candidate must lower the error by this share, in both halves of the samples taken together.
LEAST_GAIN = 0.002


class Search:
    """Looks for intervals and exponents with a lower error at the outputs.

    Parameters
    ----------
    skeleton : Skeleton
    evaluation, statistics
        Of the same samples, those of the evaluation first.
    rows : int
        Positions of each layer that second moments are taken of, drawn with ``seed``.
    seed : int
    progress : callable
        Told the name of the step and the share done, 0 to 1.

    Notes
    -----
    A candidate moves weights to other grids, and with them means: the weights of the layers it
    changes are rounded anew, where the scheme has rounded weights, and their biases are corrected,
    for the inputs that the layers had when the sweep began. The mean error of each output does not
    count, since the last bias takes it up. A candidate is taken only if the error falls in both
    halves of the samples: single samples do not decide.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        evaluation: Evaluation,
        statistics: Statistics,
        *,
        rows: int,
        seed: int,
        progress: Callable[[str, float], None],
    ) -> None:
        self._skeleton, self._evaluation, self._statistics = skeleton, evaluation, statistics
        self._rows, self._seed, self._progress = rows, seed, progress
        self._means: dict[str, LayerMeans] = {}
        self._moments: dict[str, np.ndarray] = {}

    def run(self, scheme: Scheme, steps: tuple[float, ...]) -> Scheme:
        """Return the scheme with a lower error, one group of sites after the other.

        Parameters
        ----------
        scheme : Scheme
        steps : tuple of float
            One sweep each: intervals are tried multiplied by ``2**step`` and ``2**-step``, weight
            scales halved and doubled.
        """
        total, done = len(steps) * len(scheme.spans), 0
        for step in steps:
            self._observe(scheme)
            error = self._halves(scheme)
            for group in list(scheme.spans):
                for changed in _candidates(self._skeleton, scheme, group, step):
                    candidate = self._fitted(scheme, changed)
                    found = self._halves(candidate)
                    falls = found[0] < error[0] and found[1] < error[1]
                    if falls and sum(found) < (1 - LEAST_GAIN) * sum(error):
                        scheme, error = candidate, found
                done += 1
                self._progress("scale search", done / total)
        return scheme

    def _observe(self, scheme: Scheme) -> None:
        """Note what every layer reads."""
        network, resolved = integer_network(self._skeleton, scheme), resolve(self._skeleton, scheme)
        rng = np.random.default_rng(self._seed)
        for site in corrected(self._skeleton):
            names = layer_of(self._skeleton, network, site).inputs
            arrays = [self._evaluation.tensor(network, name) for name in names]
            self._means[site.name] = layer_means(self._skeleton, resolved, site, arrays)
            if site.name in scheme.weights:
                node = self._skeleton.graph.node(site.node)
                self._moments[site.name] = tap_moments(node, arrays[0], self._rows, rng)

    def _fitted(self, before: Scheme, scheme: Scheme) -> Scheme:
        """Return a scheme with those layers fitted whose weight scales it has changed."""
        old, new = resolve(self._skeleton, before), resolve(self._skeleton, scheme)
        for site in corrected(self._skeleton):
            name, numbers = site.name, new[site.name]
            if np.array_equal(numbers.weight_scale, old[name].weight_scale):
                continue
            if name in scheme.weights:
                known = (float_weight(self._skeleton, site), self._moments[name])
                q = rounded_weight(self._skeleton, scheme, site, *known, greedy=False)
                scheme = scheme.having(weights={**scheme.weights, name: q})
            wanted = self._statistics.mean(name, self._evaluation.count)
            means = self._means[name]
            bias = corrected_bias(self._skeleton, scheme, numbers, site, means, wanted)
            scheme = scheme.having(biases={**scheme.biases, name: bias})
        return scheme

    def _halves(self, scheme: Scheme) -> tuple[float, float]:
        network = integer_network(self._skeleton, scheme)
        errors = self._evaluation.errors(network, centered=True)
        return float(errors[::2].sum()), float(errors[1::2].sum())


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
