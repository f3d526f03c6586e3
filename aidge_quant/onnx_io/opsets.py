"""Operator sets: which versions are read, and which domains count as ONNX."""

import onnx
import onnx.inliner

from aidge_quant.errors import AidgeQuantError, GraphError, UnsupportedError

#: Oldest and newest version of the operator set whose definitions the converters know.
OLDEST, NEWEST = 7, 28

#: Names under which models import the standard operators.
STANDARD_DOMAINS = ("", "ai.onnx")


def standard_version(model: onnx.ModelProto) -> int:
    """Return the version of the standard operator set that the model imports.

    Raises
    ------
    UnsupportedError
        If the version is older than ``OLDEST`` or newer than ``NEWEST``.
    """
    versions = [o.version for o in model.opset_import if o.domain in STANDARD_DOMAINS]
    if not versions:
        raise UnsupportedError(
            "the model imports no version of the standard ONNX operators; it cannot be read"
        )
    version = max(versions)
    if not OLDEST <= version <= NEWEST:
        raise UnsupportedError(
            f"the model uses ONNX opset {version}, expected {OLDEST} to {NEWEST}; convert it with "
            "onnx.version_converter.convert_version"
        )
    return version


def inline_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with the functions it defines itself replaced by their bodies."""
    if not model.functions:
        return model
    try:
        return onnx.inliner.inline_local_functions(model)
    except AidgeQuantError:
        raise
    except (RuntimeError, ValueError, TypeError) as error:
        raise GraphError(f"the functions defined in the model are malformed: {error}") from error
