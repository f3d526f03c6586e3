"""What a model says about the training of its graph, beside its operators."""

import dataclasses
import json

from aidge_quant.errors import DataError
from aidge_quant.graph import GraphView
from aidge_quant.ops import Producer

#: Key of the metadata with the names of the parameters that do not train, a list in JSON.
CONSTANTS = "aidge_quant.constants"


def take_constants(graph: GraphView) -> None:
    """Mark, in place, the parameters that the metadata name as constant, and drop that entry.

    Names that are no parameter any more are left out: what is folded does not train.

    Raises
    ------
    DataError
        If the entry is no list of names.
    """
    text = graph.metadata.pop(CONSTANTS, "[]")
    try:
        names = json.loads(text)
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"metadata {CONSTANTS} is {text!r}, expected a list of names in JSON")
    fixed = set(names)
    for node in graph.nodes:
        if node.name in fixed and isinstance(node.operator, Producer):
            node.operator = dataclasses.replace(node.operator, constant=True)
