"""What ``analyze`` returns, as data and as text."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class LayerRow:
    """What one integer layer loses.

    Attributes
    ----------
    layer, kind : str
        Name and class of the integer layer.
    source : tuple of str
        Graph nodes that it stands for.
    alone_db : float
        SQNR in dB of what this layer loses by itself (``report.layer_errors.analyze``, Notes).
    accumulated_db : float
        SQNR in dB of its output in the run of the integer network.
    saturation : float
        Share of output values, 0 to 1, that were cut off: the integer stands at a bound of the
        layer's interval, and the float value lies beyond it by more than half a unit.
    unused : float or None
        Share of the layer's integer interval, 0 to 1, that no output value reached:
        1 - (max - min) / (upper - lower). None for int32 outputs.
    unused_bits : float or None
        The same in bits: log2((upper - lower + 1) / (max - min + 1)).
    tail_bits : float or None
        Likewise for the interval that holds 99.9 % of the values: what few outliers cost.
    weight_spread : float or None
        Largest integer weight of the widest output channel over that of the narrowest, channels
        that are zero in the float network left out. None for layers without weights.
    advice : str
        One sentence for a bad layer, else empty.
    """

    layer: str
    kind: str
    source: tuple[str, ...]
    alone_db: float
    accumulated_db: float
    saturation: float
    unused: float | None
    unused_bits: float | None
    tail_bits: float | None
    weight_spread: float | None
    advice: str = ""


@dataclass(frozen=True)
class OutputRow:
    """How well one output of the network agrees with the float network.

    Attributes
    ----------
    name : str
    sqnr_db : float or None
        None for indices (ArgMax).
    agreement : float or None
        Share of samples, 0 to 1, whose largest value is at the same place. None where the output is
        not one row of classes.
    """

    name: str
    sqnr_db: float | None
    agreement: float | None


@dataclass(frozen=True)
class Analysis:
    """Per-layer errors of a quantized network, worst layer first; ``str`` gives the table.

    Attributes
    ----------
    network : str
        Name of the network.
    samples : int
        How many samples were compared.
    rows : tuple of LayerRow
        Layers that compute, by ``alone_db``, lowest first; those that only move or compare values
        lose nothing and are left out. Empty when the network could not be lowered.
    outputs : tuple of OutputRow
    warnings : tuple of str
        What makes the figures or the quantized network doubtful.
    """

    network: str
    samples: int
    rows: tuple[LayerRow, ...]
    outputs: tuple[OutputRow, ...]
    warnings: tuple[str, ...]

    @property
    def sqnr_db(self) -> float | None:
        """SQNR in dB of the network's output, the worst of several; None if there is none."""
        return min((o.sqnr_db for o in self.outputs if o.sqnr_db is not None), default=None)

    @property
    def agreement(self) -> float | None:
        """Share of samples with the class of the float network, the lowest of several outputs."""
        return min((o.agreement for o in self.outputs if o.agreement is not None), default=None)

    def to_dict(self) -> dict[str, Any]:
        """Return dictionaries, lists, texts and numbers that JSON can hold.

        An infinite number of dB (no error at all) becomes the text ``"inf"``.
        """
        found = dataclasses.asdict(self)
        found |= {"sqnr_db": self.sqnr_db, "agreement": self.agreement}
        plain = _plain(found)
        assert isinstance(plain, dict)
        return plain

    def __str__(self) -> str:
        lines = [_headline(self), *_table(self.rows)]
        lines += [f"advice: {row.layer}: {row.advice}" for row in self.rows if row.advice]
        lines += [f"warning: {warning}" for warning in self.warnings]
        return "\n".join(lines)


#: Columns of the table: title, value of a row as text.
_COLUMNS = (
    ("layer", lambda row: row.layer),
    ("kind", lambda row: row.kind),
    ("alone dB", lambda row: _decibels(row.alone_db)),
    ("accumulated dB", lambda row: _decibels(row.accumulated_db)),
    ("saturated", lambda row: _percent(row.saturation)),
    ("unused", lambda row: _percent(row.unused)),
    ("unused bits", lambda row: _number(row.unused_bits)),
    ("tail bits", lambda row: _number(row.tail_bits)),
    ("weight spread", lambda row: _number(row.weight_spread)),
)
_LEFT = ("layer", "kind")


def _table(rows: tuple[LayerRow, ...]) -> list[str]:
    if not rows:
        return []
    lines = [tuple(title for title, _ in _COLUMNS)]
    lines += [tuple(text(row) for _, text in _COLUMNS) for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if title in _LEFT else cell.rjust(width)
            for (title, _), cell, width in zip(_COLUMNS, line, widths, strict=True)
        ).rstrip()
        for line in lines
    ]


def _headline(analysis: Analysis) -> str:
    parts = [f"network {analysis.network}: {analysis.samples} samples"]
    for output in analysis.outputs:
        figures = []
        if output.sqnr_db is not None:
            figures.append(f"SQNR {_decibels(output.sqnr_db)} dB")
        if output.agreement is not None:
            figures.append(f"agreement {_percent(output.agreement)}")
        parts.append(f"{output.name}: {', '.join(figures) or 'not compared'}")
    return "; ".join(parts)


def _decibels(value: float) -> str:
    return f"{value:.1f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _plain(value: Any) -> Any:
    """Return ``value`` with tuples as lists and infinities as texts."""
    if isinstance(value, dict):
        return {key: _plain(element) for key, element in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(element) for element in value]
    if isinstance(value, float) and np.isinf(value):
        return str(value)
    return value
