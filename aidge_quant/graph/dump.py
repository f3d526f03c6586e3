"""Text and mermaid pictures of a graph."""

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from aidge_quant.graph.node import Node
    from aidge_quant.graph.view import GraphView


def to_text(graph: "GraphView") -> str:
    """Return the graph as text, one line a node in topological order."""
    lines = [f"graph {graph.name}"]
    for node in graph.topological():
        sources = ", ".join("-" if port is None else repr(port) for port in node.inputs)
        lines.append(f"  {node.name} = {node.type}({sources}){_attributes(node)}")
    lines += [f"  output {output.name} = {output.port!r}" for output in graph.outputs]
    return "\n".join(lines) + "\n"


def to_mermaid(graph: "GraphView") -> str:
    """Return the graph as a mermaid flowchart; shapes of nodes: round for inputs, plain else."""
    order = graph.topological()
    number = {node: f"n{i}" for i, node in enumerate(order)}
    lines = ["flowchart TD"]
    for node in order:
        label = f"{_escape(node.name)}<br/><i>{node.type}</i>"
        left, right = ('("', '")') if not node.inputs else ('["', '"]')
        lines.append(f"    {number[node]}{left}{label}{right}")
    for node in order:
        for slot, port in enumerate(node.inputs):
            if port is not None:
                lines.append(f"    {number[port.node]} -->|{slot}| {number[node]}")
    for i, output in enumerate(graph.outputs):
        lines.append(f'    out{i}(("{_escape(output.name)}"))')
        lines.append(f"    {number[output.port.node]} --> out{i}")
    return "\n".join(lines) + "\n"


def _attributes(node: "Node") -> str:
    operator = node.operator
    if not is_dataclass(operator) or not fields(operator):
        return ""
    values = ", ".join(f"{f.name}={_value(getattr(operator, f.name))}" for f in fields(operator))
    return f" {{{values}}}"


def _value(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.size > 4:
        return f"{value.dtype}{list(value.shape)}"
    return str(value.tolist() if isinstance(value, np.ndarray) else value)


def _escape(text: str) -> str:
    """Return ``text`` without characters that have a meaning inside a mermaid label."""
    kept = {"&": "&amp;", '"': "&quot;", "<": "&lt;", ">": "&gt;", "#": "&num;"}
    return "".join(kept.get(c, c) for c in text)
