"""quantize: the whole recipe, a list of steps of which each must prove itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from aidge_quant.errors import DataError, UnsupportedError
from aidge_quant.graph import GraphView, Node
from aidge_quant.integer.lowering.lower import lower
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.onnx_io import load_onnx
from aidge_quant.ops import Clip
from aidge_quant.ptq import prepare_network
from aidge_quant.ptq.architecture import require_supported
from aidge_quant.ptq.calibration import Calibration, calibration_batches
from aidge_quant.ptq.flow import logger
from aidge_quant.tuning.equalization import equalize_channels
from aidge_quant.tuning.evaluation import Evaluation
from aidge_quant.tuning.ladder import Ladder, Rung
from aidge_quant.tuning.layers import fit_layers
from aidge_quant.tuning.precision import agreed_bits, whole_spans
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
#: By input name: the samples to fit to, and those held back.
Split = Mapping[str, tuple[np.ndarray, np.ndarray]]


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
    ways : int
        How many of the starts (equalized or not, clipped or not) go all the way, best first.
    thorough : bool
        Whether rounding begins from greedy rounding too, and exponents are chosen.
    refit : bool
        Whether weights make up for the errors of what their layers read.
    """

    fitted: int
    searched: int
    steps: tuple[float, ...]
    rows: int
    ways: int
    thorough: bool
    refit: bool


EFFORTS = {
    "fast": Effort(64, 0, (), 2048, 1, False, False),
    "balanced": Effort(128, 64, (0.25,), 4096, 1, True, True),
    "high": Effort(192, 192, (0.5, 0.25, 0.125), 16384, 4, True, True),
}
#: A quarter of the samples is held back, and at least this many are needed in all.
LEAST_SAMPLES = 8
#: What the intervals of 16-bit tensors are multiplied by, so that unseen values do not saturate.
WIDER = 2.0


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

    @property
    def fuses(self) -> bool:
        """Whether an Add is in an accumulator."""
        return any(site.sum for site in self.skeleton.sites.values())


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
    weight_bits : 8, 4 or 16
    activation_bits : 8 or 16
        int16 tensors have no zero point. What functions of one value read and write stays int8,
        and with it what an Add, a product or a Concat joins it to.
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
    int32 logits, residual Adds in the accumulator, equalization (through ReLU6 with a cap for every
    channel), clipping, bias correction, joint search of the scales, exponents and second-order
    rounding of the weights. Each is kept only if the error at the outputs falls on the
    samples that were held back.
    """
    options = _checked_effort(effort, single_shift)
    _check_bits(weight_bits, activation_bits)
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
    climb = _Climb(split, options, seed, progress or (lambda step, share: None))
    course, scheme = climb.best(graph, weight_bits, activation_bits, per_channel)
    result = quantized_graph(course.skeleton, scheme)
    result.check()
    return QuantizationResult(result, lower(result), Ladder(tuple(climb.rungs)))


def _checked_effort(effort: str, single_shift: bool) -> Effort:
    if effort not in EFFORTS:
        raise UnsupportedError(f"effort: expected one of {', '.join(EFFORTS)}, got {effort!r}")
    if not single_shift:
        raise UnsupportedError(
            "single_shift=False: expected True; quantize_network makes networks with multipliers"
        )
    return EFFORTS[effort]


def _check_bits(weight_bits: int, activation_bits: int) -> None:
    if weight_bits not in (4, 8, 16):
        raise UnsupportedError(f"weight_bits: expected 4, 8 or 16, got {weight_bits}")
    if activation_bits not in (8, 16):
        raise UnsupportedError(f"activation_bits: expected 8 or 16, got {activation_bits}")


def _course(
    graph: GraphView, split: Split, options: Effort, fuse: bool, like: _Course | None = None
) -> _Course:
    """Return a course; ``like`` is another of the same function, judged by the same outputs."""
    skeleton = build_skeleton(graph, fuse=fuse)
    fitted = {name: parts[0][: options.fitted] for name, parts in split.items()}
    statistics = observe(skeleton, fitted, keep_inputs=options.refit)
    few = {name: x[: max(options.searched, 1)] for name, x in fitted.items()}
    references = {name: y[: max(options.searched, 1)] for name, y in statistics.outputs.items()}
    held = like.held_back if like is not None else None
    if held is None:
        rest = {name: parts[1] for name, parts in split.items()}
        held = Evaluation(rest, observe(skeleton, rest).outputs)
    few_samples = Evaluation(few, references)
    return _Course(skeleton, statistics, Evaluation(fitted, statistics.outputs), few_samples, held)


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A scheme on its course, its SQNR on the held-back samples, and the steps that led there."""

    course: _Course
    scheme: Scheme
    level: float
    rungs: tuple[Rung, ...] = ()


class _Climb:
    """The steps of the recipe, each tried on the best that was found before."""

    def __init__(self, split: Split, options: Effort, seed: int, progress: Progress) -> None:
        self.rungs: list[Rung] = []
        self._split, self._options, self._seed, self._progress = split, options, seed, progress

    def best(
        self, graph: GraphView, weight_bits: int, activation_bits: int, per_channel: bool
    ) -> tuple[_Course, Scheme]:
        """Return the best scheme found, and leave the steps of its way in ``rungs``."""
        course = _course(graph, self._split, self._options, False)
        spans = grouped(course.skeleton, course.statistics.extremes)
        bits = agreed_bits(course.skeleton, {}, activation_bits)
        scheme = Scheme(spans, weight_bits=weight_bits, per_channel=per_channel, tensor_bits=bits)
        first = _Candidate(course, scheme, _level(course, scheme))
        first = self._attempt(first, "bias correction", scheme)
        first = self._attempt(first, "zero points", first.scheme.having(zero_points=True))
        first = self._attempt(first, "int32 logits", first.scheme.having(wide_logits=True))
        first = self._fused(first, graph, activation_bits)
        first, room = self._roomy(first)
        starts = self._starts(first, graph, room)
        finished = [self._finish(start) for start in starts[: self._options.ways]]
        found = max(finished, key=lambda candidate: candidate.level)
        self.rungs = list(found.rungs)
        return found.course, found.scheme

    def _fused(self, first: _Candidate, graph: GraphView, activation_bits: int) -> _Candidate:
        """Return the start with every Add in the accumulator before it, if that is better."""
        course = _course(graph, self._split, self._options, True, first.course)
        if not course.fuses:
            return first
        spans = grouped(course.skeleton, course.statistics.extremes)
        bits = agreed_bits(course.skeleton, {}, activation_bits)
        scheme = first.scheme.having(spans=spans, biases={}, tensor_bits=bits)
        start = _Candidate(course, scheme, first.level, first.rungs)
        fused = self._attempt(start, "Add in the accumulator", scheme, always=True)
        return fused if fused.level > first.level else replace(first, rungs=fused.rungs)

    def _roomy(self, first: _Candidate) -> tuple[_Candidate, float]:
        """Return the start with wider intervals of 16-bit tensors, if better, and their factor."""
        scheme = first.scheme
        if 16 not in scheme.tensor_bits.values():
            return first, 1.0
        wider = scheme.having(spans=whole_spans(scheme, scheme.spans, scheme.spans, WIDER))
        found = self._attempt(first, "room for larger values", wider)
        return found, WIDER if found.level > first.level else 1.0

    def _starts(self, first: _Candidate, graph: GraphView, room: float) -> list[_Candidate]:
        """Return equalized or not, clipped or not, best first."""
        courses = {"": first.course}
        fuse = first.course.fuses
        for way, caps in (("equalization", False), ("equalization with caps", True)):
            equalized = graph.clone()
            factors = equalize_channels(equalized, clip_arrays=caps)
            if factors and (not caps or any(np.ndim(_bound(node)) for node in equalized)):
                options = (self._split, self._options, fuse, first.course)
                courses[way] = _course(equalized, *options)
        found = [first]
        for way, course in courses.items():
            statistics = course.statistics
            clippings: dict[str, dict[str, Span]] = {
                "": dict(statistics.extremes),
                "99.99 % clipping": percentile_spans(statistics, 1e-4),
                "clipping by error": least_error_spans(statistics),
            }
            for clipping, spans in clippings.items():
                step = ", ".join(part for part in (way, clipping) if part)
                if step:
                    whole = grouped(course.skeleton, statistics.extremes)
                    spans = grouped(course.skeleton, spans)
                    spans = whole_spans(first.scheme, spans, whole, room)
                    scheme = first.scheme.having(spans=spans, biases={})
                    start = _Candidate(course, scheme, first.level, first.rungs)
                    found.append(self._attempt(start, step, scheme, always=True))
        return sorted(found, key=lambda candidate: -candidate.level)

    def _finish(self, start: _Candidate) -> _Candidate:
        """Return the start with the search of the scales and the rounding of the weights."""
        options, course = self._options, start.course
        if options.steps:
            searched = search_scales(
                course.skeleton,
                start.scheme,
                course.searched,
                course.statistics,
                steps=options.steps,
                progress=self._progress,
            )
            start = self._attempt(start, "scale search", searched)
        rounded = self._attempt(start, "second-order rounding", start.scheme, rounding=True)
        if not options.thorough:
            return rounded
        step = "exponents and rounding"
        found = self._attempt(rounded, step, rounded.scheme, rounding=True, halving=True)
        if not options.refit:
            return found
        choices = {"rounding": True, "halving": bool(found.scheme.exponents)}
        return self._attempt(found, "refit and rounding", found.scheme, refit=True, **choices)

    def _attempt(
        self,
        before: _Candidate,
        step: str,
        scheme: Scheme,
        *,
        always: bool = False,
        **choices: bool,
    ) -> _Candidate:
        """Fit the biases, and what ``choices`` say, to ``scheme``; keep it if the error falls."""
        course = before.course
        fitted = fit_layers(
            course.skeleton,
            scheme,
            course.fitted,
            course.statistics,
            rows=self._options.rows,
            greedy=self._options.thorough,
            seed=self._seed,
            **choices,
        )
        after = _level(course, fitted)
        kept = after > before.level
        rungs = (*before.rungs, Rung(step, before.level, after, kept))
        logger.info("%s: %.2f dB, then %.2f dB", step, before.level, after)
        if kept or always:
            return _Candidate(course, fitted, after, rungs)
        return _Candidate(course, before.scheme, before.level, rungs)


def _bound(node: Node) -> float | np.ndarray:
    """Return the upper bound of a Clip, 0 for another node."""
    return node.operator.upper if isinstance(node.operator, Clip) else 0.0


def _level(course: _Course, scheme: Scheme) -> float:
    return course.held_back.sqnr(integer_network(course.skeleton, scheme))
