"""quantize: the whole recipe, a list of steps of which each must prove itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from aidge_quant.errors import DataError
from aidge_quant.graph import GraphView, Node
from aidge_quant.integer.lowering.lower import lower
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.onnx_io import load_onnx
from aidge_quant.ops import Clip
from aidge_quant.ptq import prepare_network
from aidge_quant.ptq.architecture import require_supported
from aidge_quant.ptq.calibration import Calibration, calibration_batches
from aidge_quant.ptq.flow import logger
from aidge_quant.tuning.budget import Budget
from aidge_quant.tuning.effort import Effort, check_form, checked_effort
from aidge_quant.tuning.equalization import equalize_channels
from aidge_quant.tuning.evaluation import Evaluation
from aidge_quant.tuning.ladder import Ladder, Rung
from aidge_quant.tuning.layers import fit_layers
from aidge_quant.tuning.mixture import Mixture
from aidge_quant.tuning.precision import agreed_bits, whole_spans
from aidge_quant.tuning.proposal import Proposal, make_proposal
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
    proposal : Proposal or None
        The bits of every layer under a budget, and what they take; None without a budget.
    """

    graph: GraphView
    network: IntegerNetwork
    ladder: Ladder
    proposal: Proposal | None = None

    def __str__(self) -> str:
        return "\n\n".join(str(part) for part in (self.ladder, self.proposal) if part)


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
    flash_budget: int | None = None,
    ram_budget: int | None = None,
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
    flash_budget : int, optional
        Bytes that the parameters may take, as the export counts them. Where they would take more,
        layers get narrower weights than ``weight_bits``, down to int4: those that lose least by the
        byte.
    ram_budget : int, optional
        Bytes that the arena may take. With room left, tensors become int16 where that lowers the
        error most; inputs and outputs of the network, which the caller holds, keep their types.
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
        If there are too few samples, they do not fit the network, or a budget cannot be met.

    Notes
    -----
    Activation scales are free reals; the weights take ``2**-k s_y / s_x``. Steps: zero points,
    int32 logits, residual Adds in the accumulator, equalization (through ReLU6 with a cap for every
    channel), clipping, bias correction, joint search of the scales, exponents and second-order
    rounding of the weights. Each is kept only if the error at the outputs falls on the
    samples that were held back. Bits under a budget are chosen last, from what every layer does
    alone to the error on the calibration samples.
    """
    options = checked_effort(effort)
    check_form(weight_bits, activation_bits, single_shift)
    budget = Budget(flash_budget, ram_budget)
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
    climb = _Climb(split, options, budget, seed, progress or (lambda step, share: None))
    plain = Scheme({}, weight_bits=weight_bits, per_channel=per_channel)
    found, changes = climb.within_budget(climb.best(graph, plain, activation_bits))
    skeleton = found.course.skeleton
    result = quantized_graph(skeleton, found.scheme)
    result.check()
    lowered = lower(result)
    proposal = make_proposal(skeleton, lowered, changes, budget) if budget else None
    return QuantizationResult(result, lowered, Ladder(found.rungs), proposal)


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

    def __init__(
        self, split: Split, options: Effort, budget: Budget, seed: int, progress: Progress
    ) -> None:
        self._split, self._options, self._budget = split, options, budget
        self._seed, self._progress = seed, progress

    def best(self, graph: GraphView, plain: Scheme, activation_bits: int) -> _Candidate:
        """Return the best candidate found that the budget can hold; ``plain`` has no intervals."""
        first = self._begin(graph, False, plain, activation_bits)
        if first.level == -np.inf:
            fused = self._begin(graph, True, plain, activation_bits)
            ways = [(way.course.skeleton, way.scheme) for way in (first, fused)]
            self._budget.require_reachable(ways)
            first = fused
        first = self._attempt(first, "bias correction", first.scheme)
        first = self._attempt(first, "zero points", first.scheme.having(zero_points=True))
        first = self._attempt(first, "int32 logits", first.scheme.having(wide_logits=True))
        first = self._fused(first, graph, activation_bits)
        first, room = self._roomy(first)
        starts = self._starts(first, graph, room)
        finished = [self._finish(start) for start in starts[: self._options.ways]]
        return max(finished, key=lambda candidate: candidate.level)

    def _begin(
        self, graph: GraphView, fuse: bool, plain: Scheme, activation_bits: int
    ) -> _Candidate:
        """Return the first candidate: whole intervals, nothing corrected."""
        course = _course(graph, self._split, self._options, fuse)
        spans = grouped(course.skeleton, course.statistics.extremes)
        bits = agreed_bits(course.skeleton, {}, activation_bits)
        scheme = plain.having(spans=spans, tensor_bits=bits)
        return _Candidate(course, scheme, self._level(course, scheme))

    def within_budget(self, found: _Candidate) -> tuple[_Candidate, dict[str, float]]:
        """Return the candidate with bits that the budget asks for and allows, and their changes."""
        if not self._budget:
            return found, {}
        course, start = found.course, found.scheme

        def fit(scheme: Scheme, only: Collection[str]) -> Scheme:
            return self._fitted(course, scheme, only, rounding=True, halving=True)

        mixture = Mixture(course.skeleton, course.fitted, self._budget, fit, self._progress)
        found = self._note(found, "narrow weights", mixture.narrowed(start), needed=True)
        found = self._note(found, "int16 activations", mixture.raised(found.scheme))
        if found.scheme is not start:
            again = {"rounding": True, "halving": True}
            found = self._attempt(found, "exponents and rounding", found.scheme, **again)
            if self._options.refit:
                again["refit"] = True
                found = self._attempt(found, "refit and rounding", found.scheme, **again)
        return found, mixture.changes(start, found.scheme)

    def _fused(self, first: _Candidate, graph: GraphView, activation_bits: int) -> _Candidate:
        """Return the start with every Add in the accumulator before it, if that is better."""
        if first.course.fuses:
            return first
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
        fitted = self._fitted(before.course, scheme, None, **choices)
        return self._note(before, step, fitted, always=always)

    def _fitted(
        self, course: _Course, scheme: Scheme, only: Collection[str] | None, /, **choices: bool
    ) -> Scheme:
        return fit_layers(
            course.skeleton,
            scheme,
            course.fitted,
            course.statistics,
            rows=self._options.rows,
            greedy=self._options.thorough,
            seed=self._seed,
            only=only,
            **choices,
        )

    def _note(
        self,
        before: _Candidate,
        step: str,
        scheme: Scheme,
        *,
        always: bool = False,
        needed: bool = False,
    ) -> _Candidate:
        """Return ``scheme`` as a candidate if the error falls, or always; else ``before``.

        What a budget needs counts as kept; what ``always`` returns, to be compared, does not.
        """
        if scheme is before.scheme:
            return before
        after = self._level(before.course, scheme)
        kept = needed or after > before.level
        rungs = (*before.rungs, Rung(step, before.level, after, kept))
        logger.info("%s: %.2f dB, then %.2f dB", step, before.level, after)
        if kept or always:
            return _Candidate(before.course, scheme, after, rungs)
        return replace(before, rungs=rungs)

    def _level(self, course: _Course, scheme: Scheme) -> float:
        """Return the SQNR on the held-back samples, minus infinity beyond the budget."""
        if not self._budget.reachable(course.skeleton, scheme):
            return -np.inf
        return course.held_back.sqnr(integer_network(course.skeleton, scheme))


def _bound(node: Node) -> float | np.ndarray:
    """Return the upper bound of a Clip, 0 for another node."""
    return node.operator.upper if isinstance(node.operator, Clip) else 0.0
