"""The climb: the steps of the recipe, each tried on the best that was found before."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from aidge_quant.graph import GraphView
from aidge_quant.ptq.flow import logger
from aidge_quant.tuning.budget import Budget
from aidge_quant.tuning.effort import Effort
from aidge_quant.tuning.equalization import equalize_channels
from aidge_quant.tuning.evaluation import Evaluation
from aidge_quant.tuning.ladder import Rung
from aidge_quant.tuning.layers import fit_layers
from aidge_quant.tuning.mixture import Mixture
from aidge_quant.tuning.precision import agreed_bits, whole_spans
from aidge_quant.tuning.realize import integer_network
from aidge_quant.tuning.scheme import Scheme, Span
from aidge_quant.tuning.search import Search
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

#: What the intervals of 16-bit tensors are multiplied by, so that unseen values do not saturate.
WIDER = 2.0


@dataclass(frozen=True, eq=False)
class Course:
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


def make_course(
    graph: GraphView, split: Split, options: Effort, fuse: bool, like: Course | None = None
) -> Course:
    """Return a course; ``like`` is another of the same function, judged by the same outputs."""
    skeleton = build_skeleton(graph, fuse=fuse)
    fitted = {name: parts[0][: options.fitted] for name, parts in split.items()}
    statistics = observe(skeleton, fitted, keep_inputs=options.refit)
    fit = few = Evaluation(fitted, statistics.outputs)
    if options.searched < fit.count:
        samples = {name: x[: max(options.searched, 1)] for name, x in fitted.items()}
        outputs = {name: y[: max(options.searched, 1)] for name, y in statistics.outputs.items()}
        few = Evaluation(samples, outputs)
    held = like.held_back if like is not None else None
    if held is None:
        rest = {name: parts[1] for name, parts in split.items()}
        held = Evaluation(rest, observe(skeleton, rest).outputs)
    return Course(skeleton, statistics, fit, few, held)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A scheme on its course, its SQNR on the held-back samples, and the steps that led there."""

    course: Course
    scheme: Scheme
    level: float
    rungs: tuple[Rung, ...] = ()


class Climb:
    """The steps of the recipe, each tried on the best that was found before."""

    def __init__(
        self,
        split: Split,
        options: Effort,
        budget: Budget,
        seed: int,
        progress: Progress,
        verbose: bool,
    ) -> None:
        self._split, self._options, self._budget = split, options, budget
        self._seed, self._progress, self._verbose = seed, progress, verbose
        #: The course whose tensors are kept.
        self._active: Course | None = None

    def best(self, graph: GraphView, plain: Scheme, activation_bits: int) -> Candidate:
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
        found = [self._rounded(first, first.scheme)]
        found += self._equalized(found[0], first.scheme, graph, room)
        found += self._clipped(max(found, key=_level_of), room)
        found.sort(key=_level_of, reverse=True)
        finished = [self._finish(start) for start in found[: self._options.ways]]
        return max(finished, key=_level_of)

    def _begin(
        self, graph: GraphView, fuse: bool, plain: Scheme, activation_bits: int
    ) -> Candidate:
        """Return the first candidate: whole intervals, nothing corrected."""
        course = make_course(graph, self._split, self._options, fuse)
        spans = grouped(course.skeleton, course.statistics.extremes)
        bits = agreed_bits(course.skeleton, {}, activation_bits)
        scheme = plain.having(spans=spans, tensor_bits=bits)
        return Candidate(course, scheme, self._level(course, scheme))

    def within_budget(self, found: Candidate) -> tuple[Candidate, dict[str, float]]:
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

    def _fused(self, first: Candidate, graph: GraphView, activation_bits: int) -> Candidate:
        """Return the start with every Add in the accumulator before it, if that is better."""
        if first.course.fuses:
            return first
        course = make_course(graph, self._split, self._options, True, first.course)
        if not course.fuses:
            return first
        spans = grouped(course.skeleton, course.statistics.extremes)
        bits = agreed_bits(course.skeleton, {}, activation_bits)
        scheme = first.scheme.having(spans=spans, biases={}, tensor_bits=bits)
        start = Candidate(course, scheme, first.level, first.rungs)
        fused = self._attempt(start, "Add in the accumulator", scheme, always=True)
        return fused if fused.level > first.level else replace(first, rungs=fused.rungs)

    def _roomy(self, first: Candidate) -> tuple[Candidate, float]:
        """Return the start with wider intervals of 16-bit tensors, if better, and their factor."""
        scheme = first.scheme
        if 16 not in scheme.tensor_bits.values():
            return first, 1.0
        wider = scheme.having(spans=whole_spans(scheme, scheme.spans, scheme.spans, WIDER))
        found = self._attempt(first, "room for larger values", wider)
        return found, WIDER if found.level > first.level else 1.0

    def _rounded(self, before: Candidate, scheme: Scheme) -> Candidate:
        """Return the candidate with the weights of ``scheme`` rounded by their effect."""
        if not self._options.thorough:
            return self._attempt(before, "second-order rounding", scheme, rounding=True)
        rounded = self._attempt(before, "second-order rounding", scheme, rounding=True)
        exponents = {"rounding": True, "halving": True}
        return self._attempt(rounded, "exponents and rounding", rounded.scheme, **exponents)

    def _equalized(
        self, rounded: Candidate, plain: Scheme, graph: GraphView, room: float
    ) -> list[Candidate]:
        """Return candidates on equalized networks; ``plain`` is the scheme before rounding."""
        found = []
        for way, strength in self._options.equalizations.items():
            equalized = graph.clone()
            if not equalize_channels(equalized, clip_arrays=True, strength=strength):
                break
            course = make_course(
                equalized, self._split, self._options, rounded.course.fuses, rounded.course
            )
            whole = grouped(course.skeleton, course.statistics.extremes)
            scheme = plain.having(spans=whole_spans(plain, whole, whole, room), biases={})
            start = replace(rounded, course=course, scheme=scheme)
            found.append(self._on_another_way(start, way, scheme))
        return found

    def _clipped(self, best: Candidate, room: float) -> list[Candidate]:
        """Return candidates with clipped intervals in place of whole ones."""
        if not self._options.clips:
            return []
        course, statistics, found = best.course, best.course.statistics, []
        clippings: dict[str, dict[str, Span]] = {
            "99.99 % clipping": percentile_spans(statistics, 1e-4),
            "clipping by error": least_error_spans(statistics),
        }
        whole = grouped(course.skeleton, statistics.extremes)
        for step, by_site in clippings.items():
            spans = whole_spans(best.scheme, grouped(course.skeleton, by_site), whole, room)
            scheme = best.scheme.having(spans=spans, biases={})
            found.append(self._on_another_way(best, step, scheme))
        return found

    def _on_another_way(self, start: Candidate, step: str, scheme: Scheme) -> Candidate:
        """Return a candidate to be compared with others, its weights rounded or to nearest.

        What equalization and clipping bring shows only when weights are rounded: they trade the
        error of weights, which rounding lowers, for that of activations.
        """
        plain = scheme.having(weights={}, exponents={})
        rounding = {"rounding": True, "halving": self._options.thorough}
        return self._best_of(start, step, plain, ({}, rounding), always=True)

    def _best_of(
        self,
        before: Candidate,
        step: str,
        scheme: Scheme,
        forms: tuple[dict[str, bool], ...],
        *,
        always: bool = False,
    ) -> Candidate:
        """Return what the best of several ways to fit ``scheme`` gives, noted as one step."""
        self._progress(step, 0.0)
        if self._active is not None and self._active is not before.course:
            self._active.fitted.forget()
            self._active.searched.forget()
        self._active = before.course
        fitted = [self._fitted(before.course, scheme, None, **form) for form in forms]
        best = max(fitted, key=lambda found: self._level(before.course, found))
        return self._note(before, step, best, always=always)

    def _finish(self, start: Candidate) -> Candidate:
        """Return the start with the search of the scales and the refit of the weights."""
        options, course = self._options, start.course
        if options.steps:
            search = Search(
                course.skeleton,
                course.searched,
                course.statistics,
                rows=options.rows,
                seed=self._seed,
                progress=self._progress,
            )
            searched = search.run(start.scheme, options.steps)
            start = self._best_of(start, "scale search", searched, ({}, {"rounding": True}))
        if not options.refit:
            return start
        step, refit = "refit and rounding", {"rounding": True, "refit": True}
        refitted = self._attempt(start, step, start.scheme, **refit)
        return self._attempt(
            refitted, "exponents, refit and rounding", refitted.scheme, halving=True, **refit
        )

    def _attempt(
        self,
        before: Candidate,
        step: str,
        scheme: Scheme,
        *,
        always: bool = False,
        **choices: bool,
    ) -> Candidate:
        """Fit the biases, and what ``choices`` say, to ``scheme``; keep it if the error falls."""
        return self._best_of(before, step, scheme, (choices,), always=always)

    def _fitted(
        self, course: Course, scheme: Scheme, only: Collection[str] | None, /, **choices: bool
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
        before: Candidate,
        step: str,
        scheme: Scheme,
        *,
        always: bool = False,
        needed: bool = False,
    ) -> Candidate:
        """Return ``scheme`` as a candidate if the error falls, or always; else ``before``.

        What a budget needs counts as kept; what ``always`` returns, to be compared, does not.
        """
        if scheme is before.scheme:
            return before
        after = self._level(before.course, scheme)
        kept = needed or after > before.level
        rungs = (*before.rungs, Rung(step, before.level, after, kept))
        if self._verbose:
            logger.info("%s: %.2f dB, then %.2f dB", step, before.level, after)
        if kept or always:
            return Candidate(before.course, scheme, after, rungs)
        return replace(before, rungs=rungs)

    def _level(self, course: Course, scheme: Scheme) -> float:
        """Return the SQNR on the held-back samples, minus infinity beyond the budget."""
        if not self._budget.reachable(course.skeleton, scheme):
            return -np.inf
        return course.held_back.sqnr(integer_network(course.skeleton, scheme))


def _level_of(candidate: Candidate) -> float:
    return candidate.level
