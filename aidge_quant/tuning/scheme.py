"""What the recipe chooses: real intervals, exponents and integers, without any arithmetic yet."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Span:
    """The real interval that a tensor's integers are to cover; it contains 0."""

    low: float
    high: float

    def scaled(self, factor: float) -> "Span":
        """Return the interval with both ends multiplied by ``factor``."""
        return Span(self.low * factor, self.high * factor)


@dataclass(frozen=True, eq=False)
class Scheme:
    """Every choice of the recipe; immutable, so that a candidate is a changed copy.

    Attributes
    ----------
    spans : mapping of Span by group of sites
        Desired intervals; where a scale is bound to others, the nearest admissible one is taken.
    weight_bits : int, 4, 8 or 16
    per_channel : bool
        One weight scale and shift for each output channel.
    zero_points : bool
        Asymmetric intervals; else symmetric ones.
    wide_logits : bool
        Keep the int32 accumulators of the last layers.
    exponents : mapping of int array () or (out,) by site
        How often the weight scale is halved below the one that holds the largest weight; weights
        beyond the range saturate.
    weights : mapping of integer array by site
        Chosen weights in the layout of the graph; nearest rounding where absent.
    biases : mapping of float64 array (out,) by site
        Real biases in place of the network's.
    layer_bits : mapping of int by site
        Weight bits of single layers; ``weight_bits`` where absent.
    tensor_bits : mapping of int, 8 or 16, by group of sites
        As ``agreed_bits`` returns them; 8 where absent.
    """

    spans: Mapping[str, Span]
    weight_bits: int = 8
    per_channel: bool = True
    zero_points: bool = False
    wide_logits: bool = False
    exponents: Mapping[str, np.ndarray] = field(default_factory=dict)
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    biases: Mapping[str, np.ndarray] = field(default_factory=dict)
    layer_bits: Mapping[str, int] = field(default_factory=dict)
    tensor_bits: Mapping[str, int] = field(default_factory=dict)

    def bits_of_weight(self, site: str) -> int:
        """Return the bits of the weight of an affine site."""
        return self.layer_bits.get(site, self.weight_bits)

    def largest_weight(self, site: str) -> int:
        """Return the largest magnitude of the integers of that weight."""
        return 2 ** (self.bits_of_weight(site) - 1) - 1

    def bits_of_tensor(self, group: str) -> int:
        """Return the bits of the tensors of a group of sites."""
        return self.tensor_bits.get(group, 8)

    def having(self, **changes: Any) -> "Scheme":
        """Return a copy with other fields."""
        return replace(self, **changes)

    def with_span(self, group: str, span: Span) -> "Scheme":
        """Return a copy with another interval for one group."""
        return replace(self, spans={**self.spans, group: span})
