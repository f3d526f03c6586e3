"""Recipe: products with a constant matrix as fully connected layers."""

import numpy as np

from aidge_quant.graph import GraphView, Node
from aidge_quant.ops import FC, Gemm, MatMul
from aidge_quant.recipes.parameters import float_constant, set_parameter


def matmul_to_fc(network: GraphView) -> None:
    """Replace, in place, MatMul and Gemm with a constant second operand by FC."""
    for node in network.topological():
        if not isinstance(node.operator, MatMul | Gemm) or not node.has_input(1):
            continue
        matrix = float_constant(node.input(1))
        if matrix is None or matrix.ndim != 2:
            continue
        if isinstance(node.operator, MatMul):
            _replace(network, node, matrix.T, None)
        elif not node.operator.transpose_a:
            _replace_gemm(network, node, matrix)


def _replace_gemm(network: GraphView, node: Node, matrix: np.ndarray) -> None:
    operator = node.operator
    weight = operator.alpha * (matrix if operator.transpose_b else matrix.T)
    bias = None
    if node.has_input(2):
        term = float_constant(node.input(2))
        if (
            term is None
            or term.size not in (1, weight.shape[0])
            or term.shape[:-1] not in ((), (1,))
        ):
            return
        bias = operator.beta * np.broadcast_to(term.reshape(-1), (weight.shape[0],))
    _replace(network, node, weight, bias)


def _replace(network: GraphView, node: Node, weight: np.ndarray, bias: np.ndarray | None) -> None:
    node.operator = FC()
    set_parameter(network, node, 1, weight, f"{node.name}_weight")
    if bias is not None:
        set_parameter(network, node, 2, bias, f"{node.name}_bias")
