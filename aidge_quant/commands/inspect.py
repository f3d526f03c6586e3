"""``aidge-quant inspect``: what is in a model, and what quantization makes of it."""

import json
from argparse import Namespace
from typing import Any

from rich.console import Console
from rich.table import Table

from aidge_quant.executor import infer_shapes
from aidge_quant.graph import to_mermaid
from aidge_quant.onnx_io import load_onnx
from aidge_quant.ops import Input, Producer
from aidge_quant.ptq.architecture import ReportRow, quantizability


def inspect_command(arguments: Namespace, console: Console) -> int:
    """Carry out ``aidge-quant inspect``: 0, or 1 if a node cannot be quantized."""
    graph = load_onnx(arguments.model, input_shapes=dict(arguments.input_dim))
    if arguments.mermaid:
        console.print(to_mermaid(graph), highlight=False, markup=False, soft_wrap=True)
        return 0
    shapes = infer_shapes(graph)
    report = quantizability(graph)
    verdicts = {row.node: row for row in report}
    rows: list[dict[str, Any]] = []
    for node in graph.topological():
        if not isinstance(node.operator, Input | Producer):
            verdict = verdicts.pop(node.name, None)
            rows.append(
                {
                    "node": node.name,
                    "operator": node.type,
                    "output": [list(shape) for shape in shapes[node]],
                    "status": verdict.status if verdict else "",
                    "reason": verdict.reason if verdict else "",
                    "remedy": verdict.remedy if verdict else "",
                }
            )
    rows += [_made_by_recipes(row) for row in verdicts.values() if row.type != "Input"]
    if arguments.json:
        inputs = {node.name: list(node.operator.shape) for node in graph.inputs}
        found = {"inputs": inputs, "outputs": [o.name for o in graph.outputs], "nodes": rows}
        console.print_json(json.dumps(found))
        return int(bool(report.unsupported))
    table = Table(title=str(arguments.model))
    for column in ("node", "operator", "output", "status", "reason", "remedy"):
        table.add_column(column, overflow="fold")
    for row in rows:
        shown = ", ".join("x".join(map(str, shape)) for shape in row["output"])
        remarks = (str(row[key]) for key in ("status", "reason", "remedy"))
        table.add_row(str(row["node"]), str(row["operator"]), shown, *remarks)
    console.print(table)
    return int(bool(report.unsupported))


def _made_by_recipes(row: ReportRow) -> dict[str, Any]:
    """Return the row of a node that the model does not have: the recipes put it there."""
    found = {"node": row.node, "operator": row.type, "output": []}
    return {**found, "status": row.status, "reason": row.reason, "remedy": row.remedy}
