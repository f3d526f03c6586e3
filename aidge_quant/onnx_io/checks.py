"""Checks of one node against the definition of its operator."""

import onnx
from onnx import checker

from aidge_quant.errors import GraphError


def check_node(node: onnx.NodeProto, model: onnx.ModelProto) -> None:
    """Raise a GraphError if a node does not follow the definition of its operator.

    Inputs, outputs and attributes are counted and their kinds compared, at the version of the
    operator set that the model imports.
    """
    context = checker.C.CheckerContext()
    context.ir_version = max(model.ir_version, 3)
    context.opset_imports = {entry.domain: entry.version for entry in model.opset_import}
    try:
        checker.check_node(node, context)
    except (checker.ValidationError, RuntimeError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split("\n==>", maxsplit=1)[0].split())
        raise GraphError(f"it does not follow the ONNX definition: {reason}") from error
