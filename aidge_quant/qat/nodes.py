"""The factory functions of the published API: a node that is in no graph yet.

``graph.add(node.operator, inputs, node.name)`` puts it into one.
"""

from typing import Any

from aidge_quant import ops
from aidge_quant.graph import Node
from aidge_quant.ops import DoReFaMode, Operator


def CGPACT(range: int = 255, name: str = "") -> Node:  # noqa: N802
    """Return a node that quantizes activations with a learned bound (``ops.CGPACT``).

    Parameters
    ----------
    range : int
        Largest integer: 2^N - 1 for N bits.
    name : str
    """
    return _node(ops.CGPACT(range), name)


def DoReFa(  # noqa: N802
    range: int = 255,
    mode: DoReFaMode = DoReFaMode.Default,
    name: str = "",
) -> Node:
    """Return a node that rounds clamped weights to levels (``ops.DoReFa``).

    Parameters
    ----------
    range : int
    mode : DoReFaMode
    name : str
    """
    return _node(ops.DoReFa(range, mode), name)


def FixedQ(  # noqa: N802
    nb_bits: int = 8, span: float = 4.0, is_output_unsigned: bool = False, name: str = ""
) -> Node:
    """Return a node that quantizes to a fixed-point format (``ops.FixedQ``).

    Parameters
    ----------
    nb_bits : int
    span : float
        Real value that the integers reach up to.
    is_output_unsigned : bool
    name : str
    """
    return _node(ops.FixedQ(nb_bits, span, is_output_unsigned), name)


def LSQ(range: tuple[int, int] = (0, 255), name: str = "") -> Node:  # noqa: N802
    """Return a node that quantizes with a learned step (``ops.LSQ``).

    Parameters
    ----------
    range : (int, int)
        (0, 2^N - 1) in place of ReLU activations, (-2^(N-1), 2^(N-1) - 1) for weights.
    name : str
    """
    bounds: Any = tuple(range)  # its length is checked there
    return _node(ops.LSQ(bounds), name)


def ScaleAdjust(name: str = "") -> Node:  # noqa: N802
    """Return a node that adjusts the scale of weights (``ops.ScaleAdjust``).

    Parameters
    ----------
    name : str
    """
    return _node(ops.ScaleAdjust(), name)


def TanhClamp(name: str = "") -> Node:  # noqa: N802
    """Return a node that clamps weights to [-1, 1] (``ops.TanhClamp``).

    Parameters
    ----------
    name : str
    """
    return _node(ops.TanhClamp(), name)


def _node(operator: Operator, name: str) -> Node:
    return Node(name or operator.type, operator)
