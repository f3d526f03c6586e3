"""What the float network shows on the calibration samples: intervals, and means of channels."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from aidge_quant.executor import evaluate
from aidge_quant.graph import Node
from aidge_quant.ops import FC
from aidge_quant.tuning.scheme import Span
from aidge_quant.tuning.skeleton import AFFINE, Skeleton

BATCH = 32
#: Values kept of a tensor and batch, evenly spaced, for percentiles and clipping by error.
KEPT = 1 << 14
#: Room for what the layers with weights read.
INPUT_BYTES = 256 * 2**20


@dataclass(frozen=True, eq=False)
class Statistics:
    """Observations on one set of samples.

    Attributes
    ----------
    extremes : mapping of Span by site
        Smallest and largest value, 0 included.
    values : mapping of float32 array by site
        A sample of the values.
    means : mapping of float64 array (n, out) by affine site
        Mean of every sample and channel in front of the quantizer, what an Add adds included.
    outputs : mapping of float32 array (n, *shape) by output name
    inputs : mapping of float32 array (m, *shape) by affine site
        What its layer reads, of the first samples; empty unless asked for.
    """

    extremes: Mapping[str, Span]
    values: Mapping[str, np.ndarray]
    means: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]
    inputs: Mapping[str, np.ndarray]

    def mean(self, site: str, count: int) -> np.ndarray:
        """Return the mean of every channel over the first ``count`` samples: float64 (out,)."""
        return self.means[site][:count].mean(axis=0)


def observe(
    skeleton: Skeleton, inputs: Mapping[str, np.ndarray], *, keep_inputs: bool = False
) -> Statistics:
    """Run the float network on ``inputs`` (n, *shape) and return what it shows at every site.

    Parameters
    ----------
    keep_inputs : bool
        Keep what the layers with weights read, of as many samples as fit in INPUT_BYTES.
    """
    graph = skeleton.graph
    order = graph.topological()
    count = len(next(iter(inputs.values())))
    observed: dict[Node, list[str]] = {}
    totals: dict[Node, str] = {}
    for site in skeleton.sites.values():
        observed.setdefault(graph.node(site.observed), []).append(site.name)
        if site.kind == AFFINE:
            totals[graph.node(site.total)] = site.name
    low = dict.fromkeys(skeleton.sites, 0.0)
    high = dict.fromkeys(skeleton.sites, 0.0)
    values: dict[str, list[np.ndarray]] = {name: [] for name in skeleton.sites}
    means: dict[str, list[np.ndarray]] = {name: [] for name in totals.values()}
    outputs: dict[str, list[np.ndarray]] = {}
    readers = _readers(skeleton) if keep_inputs else {}
    kept: dict[str, list[np.ndarray]] = {name: [] for names in readers.values() for name in names}
    room = INPUT_BYTES

    def see(node: Node, arrays: tuple[np.ndarray, ...]) -> None:
        array = arrays[0]
        for name in observed.get(node, ()):
            low[name] = min(low[name], float(array.min()))
            high[name] = max(high[name], float(array.max()))
            flat = array.ravel()
            values[name].append(flat[:: max(1, flat.size // KEPT)].copy())
        if node in totals:
            layer = graph.node(skeleton.sites[totals[node]].node)
            axis = array.ndim - 1 if isinstance(layer.operator, FC) else 1
            others = tuple(i for i in range(array.ndim) if i not in (0, axis))
            per_sample = array.mean(axis=others, dtype=np.float64)
            means[totals[node]].append(per_sample.reshape(len(array), -1))
        if room > 0:
            for name in readers.get(node, ()):
                kept[name].append(array)

    for start in range(0, count, BATCH):
        batch = {name: x[start : start + BATCH] for name, x in inputs.items()}
        for name, array in evaluate(graph, batch, observe=see, order=order).items():
            outputs.setdefault(name, []).append(array)
        # A whole batch is kept or none of it, so that all layers keep the same samples.
        distinct = {id(parts[-1]): parts[-1].nbytes for parts in kept.values()}
        room -= sum(distinct.values()) if room > 0 else 0
    return Statistics(
        {name: Span(low[name], high[name]) for name in skeleton.sites},
        {name: np.concatenate(parts) for name, parts in values.items()},
        {name: np.concatenate(parts) for name, parts in means.items()},
        {name: np.concatenate(parts) for name, parts in outputs.items()},
        {name: np.concatenate(parts) for name, parts in kept.items()},
    )


def _readers(skeleton: Skeleton) -> dict[Node, list[str]]:
    """Return the affine sites by the node whose output their layers read."""
    found: dict[Node, list[str]] = {}
    for site in skeleton.affine:
        node = skeleton.graph.node(site.node).input(0).node
        found.setdefault(node, []).append(site.name)
    return found


def grouped(skeleton: Skeleton, spans: Mapping[str, Span]) -> dict[str, Span]:
    """Return one interval for each group: the union of its sites'."""
    found: dict[str, Span] = {}
    for site in skeleton.sites.values():
        span, other = spans[site.name], found.get(site.group)
        if other is not None:
            span = Span(min(span.low, other.low), max(span.high, other.high))
        found[site.group] = span
    return found


def percentile_spans(statistics: Statistics, share: float) -> dict[str, Span]:
    """Return intervals that leave out ``share`` of the values, half of it at each end."""
    return {
        name: Span(min(float(a), 0.0), max(float(b), 0.0))
        for name, values in statistics.values.items()
        for a, b in [_tails(values, share)]
    }


def _tails(values: np.ndarray, share: float) -> Iterable[float]:
    low, high = float(values.min()), float(values.max())
    # A ReLU's zeros are no tail.
    lower = 0.0 if low >= 0 else float(np.quantile(values, share / 2))
    upper = 0.0 if high <= 0 else float(np.quantile(values, 1 - (share if low >= 0 else share / 2)))
    return lower, upper


def least_error_spans(statistics: Statistics, *, steps: int = 24) -> dict[str, Span]:
    """Return, for every site, the shrunken interval with the least squared error of 256 levels."""
    found = {}
    for name, values in statistics.values.items():
        whole = statistics.extremes[name]
        best, least = whole, np.inf
        for factor in np.linspace(1.0, 0.4, steps):
            span = whole.scaled(float(factor))
            scale = (span.high - span.low) / 255
            if scale <= 0:
                break
            rounded = np.clip(np.rint(values / scale), span.low / scale, span.high / scale) * scale
            error = float(np.square(rounded - values).mean())
            if error < least:
                best, least = span, error
        found[name] = best
    return found
