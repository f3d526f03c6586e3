"""Which values of a graph train, and how fast each kind of them does."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from aidge_quant.errors import GraphError
from aidge_quant.graph import GraphView, Node
from aidge_quant.ops import CGPACT, LSQ, BatchNorm, BiasQuantizer, Operator, Producer


class Kind:
    """What a parameter is to the operator that reads it."""

    WEIGHT = "weight"
    BIAS = "bias"
    NORMALIZATION = "normalization"  #: scale and bias of a BatchNorm
    STEP = "step"  #: of an LSQ
    ALPHA = "alpha"  #: of a CGPACT
    OTHER = "other"


#: All of them.
KINDS = (Kind.WEIGHT, Kind.BIAS, Kind.NORMALIZATION, Kind.STEP, Kind.ALPHA, Kind.OTHER)

#: Kinds that stay positive: one update takes at most half of them away.
POSITIVE = (Kind.STEP, Kind.ALPHA)


@dataclass(frozen=True)
class Parameter:
    """A value that trains: the producer that holds it, and its kind."""

    node: Node
    kind: str

    @property
    def name(self) -> str:
        """Name of the producer."""
        return self.node.name

    @property
    def value(self) -> np.ndarray:
        """The value now."""
        value: np.ndarray = self.node.operator.value
        return value


@dataclass(frozen=True)
class Group:
    """How the parameters of some kinds, or of some names, train.

    Attributes
    ----------
    members : tuple of str
        Kinds (``Kind``) or names of producers.
    rate : float
        Factor of the learning rate; 0 freezes.
    weight_decay : float or None
        In place of the optimizer's.
    """

    members: tuple[str, ...]
    rate: float = 1.0
    weight_decay: float | None = None


#: Only weights decay, unless a group says otherwise.
DEFAULT_GROUPS = (
    Group((Kind.BIAS, Kind.NORMALIZATION, Kind.STEP, Kind.ALPHA, Kind.OTHER), weight_decay=0.0),
)


def parameters(graph: GraphView) -> list[Parameter]:
    """Return the parameters of a graph, in topological order.

    They are the float producers that an operator reads as its parameter, unless they are marked
    constant. Statistics of a BatchNorm are not among them: they follow the data.
    """
    found = []
    for node in graph.topological():
        operator = node.operator
        if not isinstance(operator, Producer) or operator.constant:
            continue
        if operator.element_type.is_integer or operator.value.dtype.kind != "f":
            continue
        uses = graph.uses(node)
        kinds = [kind_of(use.node.operator, use.slot) for use in uses]
        if kinds and all(kinds):
            found.append(Parameter(node, str(kinds[0])))
    return found


def kind_of(operator: Operator, slot: int) -> str | None:
    """Return the kind of what an operator reads at a slot; None for data and statistics."""
    if isinstance(operator, BatchNorm):
        return Kind.NORMALIZATION if slot in (1, 2) else None
    if isinstance(operator, LSQ | CGPACT):
        fixed = {0: Kind.WEIGHT, 1: Kind.STEP if isinstance(operator, LSQ) else Kind.ALPHA}
        return fixed[slot]
    if isinstance(operator, BiasQuantizer):
        return Kind.STEP if slot else Kind.BIAS
    if operator.type in ("FixedQ", "DoReFa", "TanhClamp", "ScaleAdjust"):
        return Kind.WEIGHT
    role = operator.role(slot)
    if role in (Kind.WEIGHT, Kind.BIAS):
        return role
    return Kind.OTHER if role == "constant" else None


def set_value(node: Node, value: np.ndarray) -> None:
    """Give a producer another value, in place."""
    node.operator = dataclasses.replace(node.operator, value=value)


def require_members(found: Sequence[Parameter], groups: Iterable[Group]) -> None:
    """Refuse groups that none of the parameters is in, and names that none of them has.

    Raises
    ------
    GraphError
        With what there is instead.
    """
    present = {kind: [p.name for p in found if p.kind == kind] for kind in KINDS}
    names = {name for members in present.values() for name in members}
    for group in groups:
        unknown = [member for member in group.members if member not in names | set(KINDS)]
        if unknown:
            raise GraphError(
                f"the group {group.members} names {unknown}, expected names of parameters "
                f"(aidge_quant.training.parameters lists them) or kinds: {', '.join(KINDS)}"
            )
        if not any(member in names or present.get(member) for member in group.members):
            kinds = [kind for kind, members in present.items() if members]
            raise GraphError(
                f"the group {group.members} has no member among the parameters of the network, "
                f"which are of the kinds {kinds}"
            )


def group_of(parameter: Parameter, groups: Iterable[Group]) -> tuple[float, float | None]:
    """Return factor of the rate and weight decay of a parameter: those of the last group it is in.

    A group that says no weight decay leaves that of the group before.
    """
    rate: float = 1.0
    decay: float | None = None
    for group in groups:
        if parameter.kind in group.members or parameter.name in group.members:
            rate = group.rate
            decay = decay if group.weight_decay is None else group.weight_decay
    return rate, decay
