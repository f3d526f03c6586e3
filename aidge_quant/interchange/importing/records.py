"""Exact numbers that our exporter leaves beside a model, where float32 scales cannot say them."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from aidge_quant.graph import GraphView
from aidge_quant.interchange.metadata import REQUANTIZATION
from aidge_quant.ops.quantization import HALF_EVEN, HALF_UP

logger = logging.getLogger("aidge_quant")

#: Key of ``GraphView.metadata`` and of the model's metadata properties.
KEY = REQUANTIZATION

#: How far exact numbers may be from the float32 scales, relatively.
TOLERANCE = 2.0**-18


@dataclass(frozen=True, eq=False)
class Record:
    """The exact numbers of one QuantizeLinear.

    Attributes
    ----------
    factor : float64 array () or (channels,)
        From the accumulator to the output: 2**-k or m * 2**-n.
    rounding : {"half_up", "half_even"}
    inputs : tuple of int
        Multipliers of the inputs in the accumulator; empty where they are 1.
    residual : int64 array () or (channels,), or None
        Multiplier of what is added to the accumulator of a layer with weights.
    shift : bool
        Whether the factor is one shift.
    zero_point : int or None
        Of the integers, where that of the QuantizeLinear may be another one.
    scale : float or None
        Of the QuantizeLinear, where that in the model may be a little smaller.
    unit : float or None
        What reads the integers takes this for the real value of one.
    real : float64 array () or (channels,), or None
        Real value of one integer, where the scales in the model may be others.
    """

    factor: np.ndarray
    rounding: str
    inputs: tuple[int, ...]
    residual: np.ndarray | None
    shift: bool
    zero_point: int | None = None
    scale: float | None = None
    unit: float | None = None
    real: np.ndarray | None = None

    def agrees(self, expected: np.ndarray | float, multiplier: int = 1) -> bool:
        """Whether factor * multiplier is what the float32 scales say."""
        found, wanted = np.broadcast_arrays(self.factor * multiplier, np.asarray(expected))
        return bool((np.abs(found - wanted) <= TOLERANCE * np.abs(wanted)).all())


def read_records(graph: GraphView) -> dict[str, Record]:
    """Return the records by name of the QuantizeLinear; entries that are malformed are left out."""
    text = graph.metadata.get(KEY)
    if text is None:
        return {}
    where, found = f"graph {graph.name}: metadata {KEY}", {}
    try:
        entries = dict(json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        logger.warning("%s is malformed (%s): ignored", where, error)
        return {}
    for name, entry in entries.items():
        try:
            found[name] = _record(entry)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            logger.warning("%s of %s is malformed (%s): ignored", where, name, error)
    return found


def rename_records(graph: GraphView, names: Mapping[str, str]) -> None:
    """Let, in place, the records of some nodes be those of others: of a node fused or expanded.

    Parameters
    ----------
    names : mapping of str to str
        From the node that a record belonged to, to the one that it belongs to now.
    """
    text = graph.metadata.get(KEY)
    if text is None or not names:
        return
    try:
        entries = json.loads(text)
        found = {names.get(name, name): entry for name, entry in entries.items()}
    except (ValueError, AttributeError, RecursionError):
        return  # malformed, which the import says
    graph.metadata[KEY] = json.dumps(found, sort_keys=True, separators=(",", ":"))


def _record(entry: Mapping[str, object]) -> Record:
    factor = np.asarray(entry["factor"])
    factor = np.vectorize(float, otypes=[np.float64])(factor)
    rounding = str(entry["rounding"])
    positive = factor.size > 0 and (np.isfinite(factor) & (factor > 0)).all()
    if rounding not in (HALF_UP, HALF_EVEN) or not positive:
        raise ValueError(f"rounding is {rounding!r}, factor {factor}")
    residual = entry.get("residual")
    whole = None if residual is None else np.asarray(residual, np.int64)
    inputs = entry.get("inputs") or ()
    if not isinstance(inputs, list | tuple):
        raise TypeError(f"inputs are {inputs!r}")
    multipliers = tuple(int(i) for i in inputs)
    if any(multiplier < 1 for multiplier in multipliers):
        raise ValueError(f"inputs are {inputs!r}")
    return Record(
        np.asarray(factor),
        rounding,
        multipliers,
        whole,
        bool(entry.get("shift")),
        _zero_point(entry.get("zero_point")),
        _positive(entry.get("scale"), 0),
        _positive(entry.get("unit"), 0),
        _positive(entry.get("real"), 1),
    )


def _zero_point(value: object) -> int | None:
    """Return a checked zero point of at most 16 bits."""
    if value is None:
        return None
    if not isinstance(value, int) or not -(2**15) <= value < 2**16:
        raise ValueError(f"zero point {value!r}")
    return value


def _positive(value: object, most_axes: int) -> Any:
    """Return a checked scale; one that differs between channels is None where it may not."""
    if value is None:
        return None
    found = np.asarray(value, np.float64)
    if not (np.isfinite(found) & (found > 0)).all():
        raise ValueError(f"scale {found}")
    return found if found.ndim <= most_axes else None
