"""Which networks can be quantized, and why the others cannot."""

import sys
from dataclasses import dataclass

from aidge_quant.errors import UnsupportedError
from aidge_quant.graph import GraphView, Node
from aidge_quant.ops import (
    ArgMax,
    BatchNorm,
    Concat,
    DequantizeLinear,
    Dequantizer,
    Input,
    Max,
    Min,
    Mul,
    Producer,
    QuantizedOperator,
    QuantizeLinear,
    Quantizer,
    ReduceMax,
    ReduceMean,
    Softmax,
)
from aidge_quant.ptq.flow import (
    data_slots,
    is_affine,
    is_function,
    is_merging,
    is_passing,
    is_plain_producer,
)
from aidge_quant.ptq.prepare import prepare_network

#: Operators that keep a scale, but for which the integer network has no layer.
WITHOUT_LAYER = (Max, Min, ReduceMax, ReduceMean)

SUPPORTED, FLOAT, UNSUPPORTED = "supported", "stays in float", "not supported"


@dataclass(frozen=True)
class ReportRow:
    """What the quantization does with one node.

    Attributes
    ----------
    node, type : str
        Name and operator.
    status : str
        ``SUPPORTED``, ``FLOAT`` or ``UNSUPPORTED``.
    reason, remedy : str
        Empty where there is nothing to say.
    """

    node: str
    type: str
    status: str
    reason: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        """Return the row as one line of a message."""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.node} ({self.type}): {self.reason}{remedy}"


class QuantizabilityReport(list[ReportRow]):
    """The rows of all nodes; printed, a table with one line for each."""

    @property
    def unsupported(self) -> list[ReportRow]:
        """The rows of the nodes that are not supported."""
        return [row for row in self if row.status == UNSUPPORTED]

    @property
    def verdict(self) -> str:
        """Whether the network can be quantized, in a few words."""
        refused = len(self.unsupported)
        if refused:
            return f"{refused} of {len(self)} nodes are not supported"
        return "all nodes supported"

    def __str__(self) -> str:
        """Return the table: node, operator, status, and the reason with the remedy."""
        table = [("node", "operator", "status", "remark")]
        for row in self:
            remark = "; ".join(part for part in (row.reason, row.remedy) if part)
            table.append((row.node, row.type, row.status, remark))
        widths = [max(len(line[column]) for line in table) for column in range(3)]
        lines = []
        for line in table:
            cells = [cell.ljust(width) for cell, width in zip(line[:3], widths, strict=True)]
            lines.append("  ".join([*cells, line[3]]).rstrip())
        return "\n".join(lines)


def check_architecture(network: GraphView) -> bool:
    """Return whether the network can be quantized.

    Parameters
    ----------
    network : GraphView
        Float network, prepared or not; it is not changed.

    Returns
    -------
    bool
        True if every node that ``prepare_network`` leaves is handled.
    """
    return not quantizability(network).unsupported


def quantizability_report(graphView: GraphView) -> QuantizabilityReport:  # noqa: N803 - published name
    """Print which nodes are supported, stay in float or are not supported, and return the rows.

    Parameters
    ----------
    graphView : GraphView
        Float network, prepared or not; it is not changed.

    Returns
    -------
    QuantizabilityReport
        A list of ReportRow, in topological order: the nodes that ``prepare_network`` leaves, then
        those that it removes. Its ``str`` is the table printed.
    """
    report = quantizability(graphView)
    sys.stdout.write(f"{report}\n{graphView.name}: {report.verdict}\n")
    return report


def require_supported(network: GraphView) -> None:
    """Raise unless the network can be quantized.

    Raises
    ------
    UnsupportedError
        With every node that is not supported, the reason and the remedy.
    """
    refused = quantizability(network).unsupported
    if refused:
        lines = "".join(f"\n  {row}" for row in refused)
        raise UnsupportedError(
            f"graph {network.name} cannot be quantized because of {len(refused)} node(s):{lines}"
        )


def quantizability(network: GraphView) -> QuantizabilityReport:
    """Return what the quantization does with every node, producers aside."""
    prepared = network.clone()
    prepare_network(prepared)
    rows = QuantizabilityReport()
    for node in prepared.topological():
        if not is_plain_producer(node):
            rows.append(_row(prepared, node))
    left = {node.name for node in prepared.nodes}
    for node in network.topological():
        if node.name not in left and not is_plain_producer(node):
            if isinstance(node.operator, Softmax):
                rows.append(
                    ReportRow(node.name, node.type, FLOAT, "trailing: removed with a notice")
                )
            else:
                rows.append(ReportRow(node.name, node.type, SUPPORTED, "merged into other nodes"))
    return rows


def _row(network: GraphView, node: Node) -> ReportRow:
    reason, remedy = _fault(network, node)
    if reason:
        return ReportRow(node.name, node.type, UNSUPPORTED, reason, remedy)
    if is_function(node):
        return ReportRow(node.name, node.type, SUPPORTED, "becomes a table")
    return ReportRow(node.name, node.type, SUPPORTED)


def _fault(network: GraphView, node: Node) -> tuple[str, str]:
    """Return the reason and the remedy, both empty for a node that is handled."""
    operator = node.operator
    if isinstance(operator, Input):
        return "", ""
    if isinstance(operator, Quantizer | Dequantizer):
        return "the network is quantized already", "start from the float network"
    if isinstance(operator, WITHOUT_LAYER):
        return "the integer network has no layer for it", "end the network before it"
    if isinstance(operator, ArgMax):
        if network.uses(node):
            return "an ArgMax is handled as an output only", "end the network there"
        return "", ""
    constants = [
        slot for slot in data_slots(node) if isinstance(node.input(slot).node.operator, Producer)
    ]
    if is_affine(node):
        return _parameter_fault(node)
    if is_merging(node) or isinstance(operator, Mul):
        if constants:
            what = node.input(constants[0]).node.name
            return (
                f"its operand {what} is a constant that differs within channels",
                "use one value, or one a channel, or make it an input",
            )
        return "", ""
    if is_function(node):
        others = [slot for slot in range(1, len(node.inputs)) if node.has_input(slot)]
        if any(not is_plain_producer(node.input(slot).node) for slot in others):
            return "its parameter is computed by the network", "make it a constant"
        return "", ""
    if is_passing(node) or isinstance(operator, Concat):
        return "", ""
    if isinstance(operator, Softmax):
        return "a Softmax inside the network needs floats", "end the network before it"
    if isinstance(operator, BatchNorm):
        return (
            "it could not be merged into weights",
            "use it on 2 to 4 axes with constant statistics",
        )
    if isinstance(operator, QuantizeLinear | DequantizeLinear | QuantizedOperator):
        return "the model is quantized already", "call from_qdq or from_qop, then lower"
    return "no integer form of this operator is known", "replace it or end the network before it"


def _parameter_fault(node: Node) -> tuple[str, str]:
    for slot in (1, 2):
        if node.has_input(slot) and not is_plain_producer(node.input(slot).node):
            role = node.operator.role(slot)
            return f"its {role} is computed by the network", f"make the {role} a constant"
    return "", ""
