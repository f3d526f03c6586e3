"""Joint search of the scales: coordinate descent on the error at the outputs."""

from collections.abc import Callable

from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.tuning.evaluation import Evaluation
from aidge_quant.tuning.realize import integer_network
from aidge_quant.tuning.scheme import Scheme, Span
from aidge_quant.tuning.skeleton import Skeleton

#: A candidate must lower the error by this share, in both halves of the samples taken together.
LEAST_GAIN = 0.002


def search_scales(
    skeleton: Skeleton,
    scheme: Scheme,
    evaluation: Evaluation,
    *,
    steps: tuple[float, ...],
    progress: Callable[[str, float], None],
) -> Scheme:
    """Return the scheme with intervals that lower the output error, one group after the other.

    Parameters
    ----------
    steps : tuple of float
        One sweep each: intervals are tried multiplied by ``2**step`` and ``2**-step``.
    progress : callable
        Told the name of the step and the share done, 0 to 1.

    Notes
    -----
    The mean error of each output does not count, since the last bias takes it up. A candidate is
    taken only if the error falls in both halves of the samples: single samples do not decide.
    """
    error = _halves(evaluation, integer_network(skeleton, scheme))
    total = len(steps) * len(scheme.spans)
    done = 0
    for step in steps:
        for group in list(scheme.spans):
            for span in _candidates(scheme.spans[group], step):
                candidate = scheme.with_span(group, span)
                found = _halves(evaluation, integer_network(skeleton, candidate))
                falls = found[0] < error[0] and found[1] < error[1]
                if falls and sum(found) < (1 - LEAST_GAIN) * sum(error):
                    scheme, error = candidate, found
            done += 1
            progress("scale search", done / total)
    return scheme


def _candidates(span: Span, step: float) -> list[Span]:
    found = [span.scaled(2.0**-step), span.scaled(2.0**step)]
    if span.low < 0 < span.high:  # each end by itself
        found += [Span(span.low * 2.0**-step, span.high), Span(span.low, span.high * 2.0**-step)]
    return found


def _halves(evaluation: Evaluation, network: IntegerNetwork) -> tuple[float, float]:
    errors = evaluation.errors(network, centered=True)
    return float(errors[::2].sum()), float(errors[1::2].sum())
