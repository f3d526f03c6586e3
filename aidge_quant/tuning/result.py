"""What the recipe hands over: the network, how it was found, and what it was asked for."""

from dataclasses import dataclass

from aidge_quant.graph import GraphView, Metadata
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.tuning.ladder import Ladder
from aidge_quant.tuning.proposal import Proposal


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


def note_options(graph: GraphView, options: str) -> None:
    """Note in the graph's metadata, in place, that the recipe made it, and with which options."""
    graph.metadata |= {Metadata.RECIPE: "quantize", Metadata.OPTIONS: options}
