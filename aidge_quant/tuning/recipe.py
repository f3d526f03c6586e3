"""quantize: the whole recipe, a list of steps of which each must prove itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aidge_quant.errors import DataError, UnsupportedError
from aidge_quant.graph import GraphView
from aidge_quant.integer.lowering.lower import lower
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.onnx_io import load_onnx
from aidge_quant.ptq import prepare_network
from aidge_quant.ptq.architecture import require_supported
from aidge_quant.ptq.calibration import Calibration, calibration_batches
from aidge_quant.ptq.flow import logger
from aidge_quant.tuning.equalization import equalize_channels
from aidge_quant.tuning.evaluation import Evaluation
from aidge_quant.tuning.ladder import Ladder, Rung
from aidge_quant.tuning.layers import fit_layers
from aidge_quant.tuning.realize import integer_network, quantized_graph
from aidge_quant.tuning.scheme import Scheme, Span
from aidge_quant.tuning.search import search_scales
from aidge_quant.tuning.skeleton import Skeleton, build_skeleton
from aidge_quant.tuning.statistics import (
    Statistics,
    grouped,
    least_error_spans,
    observe,
    percentile_spans,
)

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Effort:
    """How much work is done.

    Attributes
    ----------
    fitted : int
        Samples that biases and weights are fitted to, at most.
    searched : int
        Samples that the search of the scales sees, at most.
    steps : tuple of float
        Steps of its sweeps, as powers of two.
    rows : int
        Positions of a layer that its second moments are taken of.
    thorough : bool
        Whether rounding begins from greedy rounding too, and exponents are chosen.
    """

    fitted: int
    searched: int
    steps: tuple[float, ...]
    rows: int
    thorough: bool


EFFORTS = {
    "fast": Effort(64, 0, (), 2048, False),
    "balanced": Effort(128, 64, (0.25,), 4096, True),
    "high": Effort(192, 192, (0.5, 0.25, 0.125), 16384, True),
}
#: A quarter of the samples is held back, and at least this many are needed in all.
LEAST_SAMPLES = 8


@dataclass(frozen=True, eq=False)
class QuantizationResult:
    """What ``quantize`` returns.

    Attributes
    ----------
    graph : GraphView
        Quantized, with the nodes that ``quantize_network`` makes; it takes real values.
    network : IntegerNetwork
        The same, lowered.
    ladder : Ladder
        The steps, what each brought, and whether it was kept.
    """

    graph: GraphView
    network: IntegerNetwork
    ladder: Ladder

    def __str__(self) -> str:
        return str(self.ladder)


@dataclass(frozen=True, eq=False)
class _Course:
    """One network on its way: the skeleton and the samples, float side and integer side."""

    skeleton: Skeleton
    statistics: Statistics
    fitted: Evaluation
    searched: Evaluation
    held_back: Evaluation


def quantize(
    network: GraphView | str | Path,
    calibration: Calibration,
    *,
    effort: str = "balanced",
    weight_bits: int = 8,
    activation_bits: int = 8,
    per_channel: bool = True,
    single_shift: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> QuantizationResult:
    """Return the most accurate integer network this recipe finds; ``network`` stays as it is.

    Parameters
    ----------
    network : GraphView or path of an ONNX file
        Float network.
    calibration : arrays or Tensors, as ``quantize_network`` takes them
        8 samples or more; about 256 are worth having. A quarter is held back to judge the steps.
    effort : {"fast", "balanced", "high"}
    weight_bits : 8 or 4
    activation_bits : 8
    per_channel : bool
        One weight scale and shift for each output channel.
    single_shift : bool
        Every layer ends in one rounding shift. The only form so far.
    seed : int
        Of the choice of samples; equal seeds give equal networks.
    progress : callable, optional
        Told the name of a long step and the share done, 0 to 1.

    Raises
    ------
    UnsupportedError
        If the network cannot be quantized (every node with reason and remedy), or an option is
        none of the above.
    DataError, ShapeError, DtypeError
        If there are too few samples, or they do not fit the network.

    Notes
    -----
    Activation scales are free reals; the weights take ``2**-k s_y / s_x``. Steps: zero points,
    int32 logits, equalization, clipping, bias correction, joint search of the scales, exponents and
    second-order rounding of the weights. Each is kept only if the error at the outputs falls on the
    samples that were held back.
    """
    options = _checked_effort(effort, weight_bits, activation_bits, single_shift)
    graph = load_onnx(network) if isinstance(network, str | Path) else network.clone()
    require_supported(graph)
    batches = calibration_batches(graph, calibration)
    prepare_network(graph)
    samples = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    count = len(next(iter(samples.values())))
    if count < LEAST_SAMPLES:
        raise DataError(
            f"calibration: expected at least {LEAST_SAMPLES} samples, a quarter of which is held "
            f"back, got {count}"
        )
    order = np.random.default_rng(seed).permutation(count)
    held = count // 4
    split = {name: (x[order[held:]], x[order[:held]]) for name, x in samples.items()}
    tell = progress or (lambda step, share: None)

    rungs: list[Rung] = []
    course = _course(graph, split, options)
    base = _baseline(course, weight_bits, per_channel)
    chosen = _climb(course, base, options, rungs, tell, seed, early=True)
    equalized = graph.clone()
    if equalize_channels(equalized):
        other = _course(equalized, split, options)
        base = _baseline(other, weight_bits, per_channel)
        candidate = _climb(other, base, options, [], tell, seed, early=True)
        before, after = _sqnr(course, chosen), _sqnr(other, candidate)
        rungs.append(Rung("equalization", before, after, after > before))
        if after > before:
            chosen, course = candidate, other
    chosen = _climb(course, chosen, options, rungs, tell, seed, early=False)
    result = quantized_graph(course.skeleton, chosen)
    result.check()
    return QuantizationResult(result, lower(result), Ladder(tuple(rungs)))


def _checked_effort(
    effort: str, weight_bits: int, activation_bits: int, single_shift: bool
) -> Effort:
    if effort not in EFFORTS:
        raise UnsupportedError(f"effort: expected one of {', '.join(EFFORTS)}, got {effort!r}")
    if weight_bits not in (4, 8):
        raise UnsupportedError(f"weight_bits: expected 8 or 4, got {weight_bits}")
    if activation_bits != 8:
        raise UnsupportedError(
            f"activation_bits: expected 8, got {activation_bits}; quantize_network takes int16 by "
            "auto_assign_node_precision"
        )
    if not single_shift:
        raise UnsupportedError(
            "single_shift=False: expected True; quantize_network makes networks with multipliers"
        )
    return EFFORTS[effort]


def _course(
    graph: GraphView, split: dict[str, tuple[np.ndarray, np.ndarray]], options: Effort
) -> _Course:
    skeleton = build_skeleton(graph)
    fitted = {name: parts[0][: options.fitted] for name, parts in split.items()}
    statistics = observe(skeleton, fitted)
    held = {name: parts[1] for name, parts in split.items()}
    few = {name: x[: max(options.searched, 1)] for name, x in fitted.items()}
    references = {name: y[: max(options.searched, 1)] for name, y in statistics.outputs.items()}
    return _Course(
        skeleton,
        statistics,
        Evaluation(fitted, statistics.outputs),
        Evaluation(few, references),
        Evaluation(held, observe(skeleton, held).outputs),
    )


def _baseline(course: _Course, weight_bits: int, per_channel: bool) -> Scheme:
    spans = grouped(course.skeleton, course.statistics.extremes)
    return Scheme(spans, weight_bits=weight_bits, per_channel=per_channel)


def _sqnr(course: _Course, scheme: Scheme) -> float:
    return course.held_back.sqnr(integer_network(course.skeleton, scheme))


def _climb(
    course: _Course,
    scheme: Scheme,
    options: Effort,
    rungs: list[Rung],
    tell: Progress,
    seed: int,
    *,
    early: bool,
) -> Scheme:
    """Try the steps in order and return the scheme with those that were kept."""
    level = _sqnr(course, scheme)

    def attempt(step: str, candidate: Scheme) -> None:
        nonlocal scheme, level
        after = _sqnr(course, candidate)
        kept = after > level
        rungs.append(Rung(step, level, after, kept))
        logger.info("%s: %.2f dB, %s %.2f dB", step, level, "now" if kept else "not", after)
        if kept:
            scheme, level = candidate, after

    def fitted(candidate: Scheme, **choices: bool) -> Scheme:
        return fit_layers(
            course.skeleton,
            candidate,
            course.fitted,
            course.statistics,
            rows=options.rows,
            greedy=options.thorough,
            seed=seed,
            **choices,
        )

    if early:
        attempt("zero points", scheme.having(zero_points=True))
        attempt("int32 logits", scheme.having(wide_logits=True))
        clippings: dict[str, dict[str, Span]] = {
            "clipping 99.99 %": percentile_spans(course.statistics, 1e-4),
            "clipping by error": least_error_spans(course.statistics),
        }
        for step, spans in clippings.items():
            attempt(step, scheme.having(spans=grouped(course.skeleton, spans)))
        attempt("bias correction", fitted(scheme))
        return scheme
    if options.steps:
        searched = search_scales(
            course.skeleton, scheme, course.searched, steps=options.steps, progress=tell
        )
        attempt("scale search", fitted(searched))
    attempt("second-order rounding", fitted(scheme, rounding=True))
    if options.thorough:
        attempt("exponents and rounding", fitted(scheme, rounding=True, halving=True))
    return scheme
