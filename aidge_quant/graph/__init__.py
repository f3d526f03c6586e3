"""Graph of operators: nodes, edges and the view that owns them; it knows no operator."""

from aidge_quant.graph.annotations import Annotation, Metadata
from aidge_quant.graph.dump import to_mermaid, to_text
from aidge_quant.graph.node import Node, Port
from aidge_quant.graph.view import GraphOutput, GraphView

__all__ = [
    "Annotation",
    "GraphOutput",
    "GraphView",
    "Metadata",
    "Node",
    "Port",
    "to_mermaid",
    "to_text",
]
