"""Rules that turn the figures of a bad layer into one sentence of advice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from aidge_quant.graph import Node
from aidge_quant.integer.layers import (
    Add,
    Affine,
    AveragePool,
    Concat,
    DepthwiseConvolution,
    Layer,
)
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.ptq.channels import output_rows, row_maxima
from aidge_quant.report.analysis import LayerRow
from aidge_quant.report.measure import LayerMeasure
from aidge_quant.report.origin import is_tuned


@dataclass(frozen=True)
class Thresholds:
    """Where a layer counts as bad; the one table of the rules.

    Attributes
    ----------
    alone_db : float, dB
        An error by itself below this is low.
    saturation : float, 0 to 1
        A larger share of values cut off asks for a larger range.
    unused_bits : float
        More bits that no value reaches ask for a smaller range.
    tail_bits : float
        More bits for the outermost 0.1 % of the values ask for clipping.
    weight_spread : float
        Wider apart, the channels of a weight ask for scales of their own.
    rounding : float
        The layer's error over that of rounding its output: above it, the weights are to blame.
    """

    alone_db: float = 25.0
    saturation: float = 0.01
    unused_bits: float = 1.0
    tail_bits: float = 3.0
    weight_spread: float = 16.0
    rounding: float = 4.0


THRESHOLDS = Thresholds()


@dataclass(frozen=True)
class Facts:
    """What the rules look at.

    Attributes
    ----------
    row : LayerRow
    layer : Layer
    measure : LayerMeasure
    reader : str
        The layer that reads the output together with others on the same scale, or empty.
    tuned : bool
        Whether our own recipe made the network: it has other options, and has tried to clip.
    """

    row: LayerRow
    layer: Layer
    measure: LayerMeasure
    reader: str
    tuned: bool

    @property
    def low(self) -> bool:
        """Whether the layer loses much by itself."""
        return self.row.alone_db < THRESHOLDS.alone_db

    @property
    def owns_range(self) -> bool:
        """Whether the output's scale is the layer's own."""
        return not (isinstance(self.layer, AveragePool) and self.layer.requantization is None)

    @property
    def weights_to_blame(self) -> bool:
        """Whether the error is much more than rounding the output makes."""
        excess = self.measure.alone.noise > THRESHOLDS.rounding * self.measure.rounding
        return isinstance(self.layer, Affine) and excess

    @property
    def by_channel(self) -> bool:
        """Whether the weight has a scale for every channel already."""
        return isinstance(self.layer, Affine) and self.layer.requantization.per_channel

    @property
    def unintended(self) -> bool:
        """Whether the range is not one that our recipe has chosen, and that does well."""
        return self.low or not self.tuned

    @property
    def channel_option(self) -> str:
        """The option that gives every channel a scale of its own."""
        return "per_channel=True" if self.tuned else "channel_wise=True"

    @property
    def bits(self) -> int:
        """Bits of the output's interval."""
        return self.measure.grid.interval.width.bit_length()

    @property
    def half_used(self) -> bool:
        """Whether the output is the positive half of signed 8 or 4 bits."""
        grid = self.measure.grid
        return grid.interval.lower == grid.tensor.zero_point and self.bits in (7, 3)

    def above(self, name: str) -> bool:
        """Whether a figure of the row is above its threshold; one that is missing is not."""
        value = getattr(self.row, name)
        return value is not None and value > getattr(THRESHOLDS, name)


@dataclass(frozen=True)
class Rule:
    """When a sentence applies, and the sentence."""

    applies: Callable[[Facts], bool]
    sentence: Callable[[Facts], str]


def _saturation(facts: Facts) -> str:
    other = "" if facts.tuned else ", or use a clipping_mode with a larger range (MAX)"
    return (
        f"{100 * facts.row.saturation:.1f} % of its values are cut off: calibrate on more data"
        + other
    )


def _channels(facts: Facts) -> str:
    return (
        f"the widest channel of its weight is {facts.row.weight_spread:.0f} times the narrowest: "
        f"give each channel a scale of its own ({facts.channel_option})"
    )


def _weights(facts: Facts) -> str:
    bits = facts.layer.weight_dtype.bits if isinstance(facts.layer, Affine) else 8
    other = "" if facts.by_channel else f", or scales by channel ({facts.channel_option})"
    return f"its error comes from the weights: use more than {bits} bits for them{other}"


def _shared(facts: Facts) -> str:
    return (
        f"{facts.row.unused_bits:.1f} bits of its range are never used, because {facts.reader} "
        "wants all its inputs on one scale: give the activations there more bits"
    )


def _tail(facts: Facts) -> str:
    remedy = "clip the outliers (clipping_mode MSE or KL)"
    if facts.tuned:
        remedy = f"clipping did not help, use more than {facts.bits} bits for its output"
    return f"0.1 % of its values take {facts.row.tail_bits:.1f} bits of its range: {remedy}"


def _unused(facts: Facts) -> str:
    return (
        f"{facts.row.unused_bits:.1f} bits of its range are never used: the calibration data has "
        "outliers that the samples have not, calibrate on more typical data"
    ) + ("" if facts.tuned else " or use another clipping_mode")


def _average(facts: Facts) -> str:
    return (
        "its averages stand on the scale of its input, which is too coarse for them: give the "
        "activations there more bits"
    )


def _signs(facts: Facts) -> str:
    return "it uses the positive half of its type only: optimize_signs=True gives it one bit more"


def _bits(facts: Facts) -> str:
    return (
        f"its range is well used and still too coarse: use more than {facts.bits} bits for its "
        "output"
    )


#: In order; the first that applies gives the sentence.
RULES = (
    Rule(lambda facts: facts.above("saturation") and facts.unintended, _saturation),
    Rule(lambda facts: facts.low and not facts.owns_range, _average),
    Rule(
        lambda facts: (
            facts.low
            and facts.weights_to_blame
            and facts.above("weight_spread")
            and not facts.by_channel
        ),
        _channels,
    ),
    Rule(lambda facts: facts.low and facts.weights_to_blame, _weights),
    Rule(lambda facts: bool(facts.reader) and facts.above("unused_bits"), _shared),
    Rule(
        lambda facts: (
            facts.owns_range
            and facts.above("unused_bits")
            and facts.unintended
            and not facts.measure.one_sided
        ),
        _unused,
    ),
    Rule(lambda facts: facts.low and facts.above("tail_bits"), _tail),
    Rule(lambda facts: facts.low and facts.half_used and not facts.tuned, _signs),
    Rule(lambda facts: facts.low, _bits),
)


def advise(network: IntegerNetwork, row: LayerRow, layer: Layer, measure: LayerMeasure) -> str:
    """Return one sentence for a bad layer, and an empty text for any other."""
    tuned = is_tuned(network)
    joins = (Concat,) if tuned else (Add, Concat)  # our Adds have a factor for each input
    readers = [x for x in network.layers if isinstance(x, joins) and layer.output in x.inputs]
    facts = Facts(row, layer, measure, str(readers[0]) if readers else "", tuned)
    for rule in RULES:
        if rule.applies(facts):
            return rule.sentence(facts)
    return ""


def weight_spread(layer: Layer, chain: Sequence[Node]) -> float | None:
    """Return how far apart the output channels of a layer's integer weight lie.

    Parameters
    ----------
    layer : Layer
    chain : sequence of Node
        Float nodes of the layer, the one with the weight first: channels that are zero there do not
        count.

    Returns
    -------
    float or None
        Largest |weight| of the widest channel over that of the narrowest; a channel that lost all
        its weights counts as 1. None for layers without weights, or with one channel.
    """
    if not isinstance(layer, Affine):
        return None
    axis = -1 if isinstance(layer, DepthwiseConvolution) else 0
    rows = np.moveaxis(layer.weight.astype(np.int64), axis, 0)
    largest = np.abs(rows).reshape(rows.shape[0], -1).max(axis=1)
    affine = chain[0]
    alive = row_maxima(output_rows(affine, affine.input(1).node.operator.value)) > 0
    if alive.sum() < 2:
        return None
    return float(largest[alive].max() / np.maximum(largest[alive], 1).min())
