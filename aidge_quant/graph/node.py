"""Nodes and ports."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, repr=False)
class Port:
    """One output of a node."""

    node: "Node"
    index: int = 0

    def __repr__(self) -> str:
        return self.node.name if self.index == 0 else f"{self.node.name}:{self.index}"


class Node:
    """A named operator with its incoming edges; owned and rewired by a ``GraphView``.

    Attributes
    ----------
    operator : object
        The operator; passes replace it as a whole (operators are immutable).
    annotations : dict
        What passes note about the node, by the keys of ``graph.annotations``.
    """

    __slots__ = ("_inputs", "_name", "annotations", "operator")

    def __init__(self, name: str, operator: Any, inputs: tuple[Port | None, ...] = ()) -> None:
        self._name = name
        self._inputs = inputs
        self.operator = operator
        self.annotations: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """Name, unique in its graph."""
        return self._name

    @property
    def type(self) -> str:
        """Name of the operator."""
        return self.operator.type

    @property
    def inputs(self) -> tuple[Port | None, ...]:
        """Where each input comes from; None for a missing optional input."""
        return self._inputs

    def input(self, slot: int) -> Port:
        """Return where input ``slot`` comes from.

        Raises
        ------
        LookupError
            If the input is missing.
        """
        port = self._inputs[slot] if slot < len(self._inputs) else None
        if port is None:
            raise LookupError(f"{self._name} ({self.type}) has no input {slot}")
        return port

    def has_input(self, slot: int) -> bool:
        """Whether input ``slot`` is connected."""
        return slot < len(self._inputs) and self._inputs[slot] is not None

    def __repr__(self) -> str:
        return f"<{self._name} ({self.type})>"
