"""What the functions of this package take, checked before anything is changed."""

from collections.abc import Sequence
from typing import Any

from aidge_quant.errors import DtypeError
from aidge_quant.graph import GraphView


def expect_graph(value: Any) -> None:
    """Raise a DtypeError unless ``value`` is a graph."""
    if not isinstance(value, GraphView):
        raise DtypeError(
            f"a {type(value).__name__} was given, expected a GraphView; load_onnx reads one"
        )


def expect_names(value: Any, what: str) -> None:
    """Raise a DtypeError unless ``value`` is a sequence of names."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise DtypeError(f"{what} is {value!r}, expected a list of operators")
    for name in value:
        if not isinstance(name, str):
            raise DtypeError(f"{what} holds {name!r}, expected names of operators")
