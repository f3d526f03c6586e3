"""Errors of the package: every failure a caller can cause is one of these.

::

    AidgeQuantError(Exception)
      GraphError        the graph is malformed, or a node is not where a pass needs it
      UnsupportedError  valid, but this operator, attribute or type is not handled here
      ShapeError        an array has the wrong shape (also a ValueError)
      DtypeError        an array has the wrong type (also a TypeError)
      DataError         the values of an array cannot be used: NaN, out of range, none at all
      FileError         a file is missing, unreadable, not of its kind, or in the way
      OverflowProofError  an accumulator could leave int32
      ExportError       the network cannot be written as C, or the C compiler refused it

A message names the thing, what was expected, what came and, where there is one, the remedy.
"""


class AidgeQuantError(Exception):
    """Base of all errors raised on purpose by aidge_quant."""


class GraphError(AidgeQuantError):
    """The graph is malformed, or a node is not where a pass needs it."""


class UnsupportedError(AidgeQuantError):
    """The input is valid, but this operator, attribute or type is not handled here."""


class ShapeError(AidgeQuantError, ValueError):
    """An array or tensor has the wrong shape."""


class DtypeError(AidgeQuantError, TypeError):
    """An array or tensor has the wrong element type."""


class DataError(AidgeQuantError, ValueError):
    """The values of an array cannot be used: NaN, infinite, out of range, or none at all."""


class FileError(AidgeQuantError, OSError):
    """A file is missing, unreadable, not of the expected kind, or in the way."""


class OverflowProofError(AidgeQuantError, OverflowError):
    """An accumulator could leave int32, so the layer cannot be lowered."""


class ExportError(AidgeQuantError):
    """The network cannot be written as C, or the C compiler refused it."""
