"""Mixed precision under a budget: which layers take narrow weights, which tensors wide integers."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.tuning.budget import Budget, flash_bytes
from aidge_quant.tuning.evaluation import Evaluation
from aidge_quant.tuning.knapsack import Option, least_loss
from aidge_quant.tuning.numbers import interval, resolve
from aidge_quant.tuning.precision import agreed_bits, joined_groups
from aidge_quant.tuning.realize import integer_network
from aidge_quant.tuning.scheme import Scheme, Span
from aidge_quant.tuning.skeleton import Skeleton

WEIGHT_BITS = (16, 8, 4)
#: The unit of a raised tensor is 2**-6 of its 8-bit unit: the layers around it keep their weights,
#: and it reaches twice as far.
FINER = 2.0**-6


@dataclass(frozen=True, eq=False)
class Mixture:
    """Choices of bits, from one scheme whose other choices stay.

    Attributes
    ----------
    skeleton : Skeleton
    evaluation : Evaluation
        Of the calibration samples.
    budget : Budget
    fit : callable
        Takes a scheme and names of affine sites, and returns it with their weights rounded and
        their biases corrected.
    progress : callable
        Told the name of the step and the share done, 0 to 1.
    """

    skeleton: Skeleton
    evaluation: Evaluation
    budget: Budget
    fit: Callable[[Scheme, Collection[str]], Scheme]
    progress: Callable[[str, float], None]
    _alone: dict[Any, float] = field(default_factory=dict)

    def narrowed(self, start: Scheme) -> Scheme:
        """Return the scheme with narrower weights where the budget of flash asks for them.

        Notes
        -----
        Each layer is changed alone, its weights and bias fitted, and costs what the error at the
        outputs grows by. The layers are chosen whose costs are least in sum; then they are fitted
        together.
        """
        limit = self.budget.flash
        total = flash_bytes(self._network(start))
        if limit is None or total <= limit:
            return start
        chosen = least_loss(self._options(start), total - limit)
        bits = {option.site: option.bits for option in chosen}
        return self.fit(_narrow(start, bits), bits)

    def raised(self, start: Scheme) -> Scheme:
        """Return the scheme with int16 tensors where they lower the error and the budget has room.

        The inputs and outputs of the network keep their types: their bytes are the caller's.

        Notes
        -----
        Each set of tensors that must have one type is raised alone; then they are raised together,
        the most useful first, as long as the error falls and the arena fits.
        """
        if self.budget.ram is None:
            return start
        ends, before = _types(self._network(start)), self._error(start)
        open_ = []
        sets = self._raisable(start)
        for number, groups in enumerate(sets):
            scheme = self._refitted(start, self._raise(start, groups))
            network = self._network(scheme)
            if _types(network) == ends:
                open_.append((before - self.evaluation.errors(network).mean(), groups))
            self.progress("int16 activations", (number + 1) / len(sets))
        open_ = sorted((pair for pair in open_ if pair[0] > 0), key=lambda pair: -pair[0])
        scheme, error, changed = start, before, True
        while changed:  # a raised neighbour may let two tensors share their bytes again
            changed = False
            for pair in list(open_):
                candidate = self._refitted(scheme, self._raise(scheme, pair[1]))
                network = self._network(candidate)
                if not self.budget.holds(network):
                    continue
                open_.remove(pair)
                after = float(self.evaluation.errors(network).mean())
                if after < error:
                    scheme, error, changed = candidate, after, True
        return scheme

    def changes(self, start: Scheme, final: Scheme) -> dict[str, float]:
        """Return by site what its choices alone change the SQNR by, in dB, from ``start``.

        Sites whose choices did not change are left out. Tensors of one type change together.
        """
        found = {}
        sets = {group: groups for groups in joined_groups(self.skeleton) for group in groups}
        before = self._error(start)
        for site in self.skeleton.sites.values():
            bits, groups = final.bits_of_weight(site.name), sets[site.group]
            narrow = (site.name, bits) if bits != start.bits_of_weight(site.name) else None
            wide = final.bits_of_tensor(site.group) != start.bits_of_tensor(site.group)
            key = (frozenset(groups) if wide else None, narrow)
            if not any(key):
                continue
            if key not in self._alone:
                scheme = start
                if wide:
                    scheme = self._refitted(start, self._raise(start, groups))
                if narrow:
                    scheme = self.fit(_narrow(scheme, dict([narrow])), (site.name,))
                self._alone[key] = self._error(scheme)
            ratio = max(before, 1e-30) / max(self._alone[key], 1e-30)
            found[site.name] = float(10 * np.log10(ratio))
        return found

    def _options(self, start: Scheme) -> list[list[Option]]:
        """Return by layer what narrower weights cost and save, measured one at a time."""
        before, total = self._error(start), flash_bytes(self._network(start))
        found: list[list[Option]] = []
        sites = self.skeleton.affine
        for number, site in enumerate(sites):
            found.append([])
            for bits in WEIGHT_BITS:
                if bits >= start.bits_of_weight(site.name):
                    continue
                scheme = self.fit(_narrow(start, {site.name: bits}), (site.name,))
                network = self._network(scheme)
                error = float(self.evaluation.errors(network).mean())
                self._alone[None, (site.name, bits)] = error
                saved = total - flash_bytes(network)
                found[-1].append(Option(site.name, bits, max(error - before, 0.0), saved))
            self.progress("narrow weights", (number + 1) / len(sites))
        return found

    def _raisable(self, scheme: Scheme) -> list[set[str]]:
        sets = joined_groups(self.skeleton)
        free = agreed_bits(self.skeleton, {}, 16)
        return [
            groups
            for groups in sets
            if all(free[group] == 16 and scheme.bits_of_tensor(group) == 8 for group in groups)
        ]

    def _raise(self, scheme: Scheme, groups: Collection[str]) -> Scheme:
        spans = dict(scheme.spans)
        for group in groups:
            span = spans[group]
            scale, *_ = interval(span, zero_points=scheme.zero_points)
            high = scale * FINER * 32767
            spans[group] = Span(-high if span.low < 0 else 0.0, high)
        bits = {**scheme.tensor_bits, **dict.fromkeys(groups, 16)}
        return scheme.having(spans=spans, tensor_bits=bits)

    def _refitted(self, before: Scheme, after: Scheme) -> Scheme:
        """Return ``after`` with the layers fitted whose weights have other units than before."""
        old, new = resolve(self.skeleton, before), resolve(self.skeleton, after)
        moved = [
            site.name
            for site in self.skeleton.affine
            if not _equal(old[site.name].weight_scale, new[site.name].weight_scale)
        ]
        return self.fit(after, moved) if moved else after

    def _network(self, scheme: Scheme) -> IntegerNetwork:
        return integer_network(self.skeleton, scheme)

    def _error(self, scheme: Scheme) -> float:
        return float(self.evaluation.errors(self._network(scheme)).mean())


def _narrow(scheme: Scheme, bits: Mapping[str, int]) -> Scheme:
    """Return the scheme with other weight bits for some sites."""
    return scheme.having(layer_bits={**scheme.layer_bits, **bits})


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether scales are equal but for the rounding of floats."""
    return bool(np.allclose(one, other, rtol=1e-6, atol=0))


def _types(network: IntegerNetwork) -> list[Any]:
    """Return the types of what the caller holds."""
    return [network.tensor(name).dtype for name in (*network.inputs, *network.outputs)]
