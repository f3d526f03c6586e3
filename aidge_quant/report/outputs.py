"""Sums over batches at the outputs of the network, and what looks wrong there."""

import numpy as np

from aidge_quant.integer.layers import ArgMax, Reshape, Transpose
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.report.analysis import OutputRow
from aidge_quant.report.measure import Signal

#: Outputs have collapsed when one class has more than the first share of the samples, while in the
#: float network no class has more than the second: of few classes, and of many.
COLLAPSED = ((0.95, 0.90), (0.50, 0.125))


class OutputMeasure:
    """What is counted at one output of the network.

    Parameters
    ----------
    network : IntegerNetwork
    index : int
        Which of its outputs.
    """

    def __init__(self, network: IntegerNetwork, index: int) -> None:
        self.name = network.output_names[index]
        self._tensor = network.tensor(network.outputs[index])
        self._is_index = _is_index(network, self._tensor.name)
        self._signal = Signal()
        self._classes: list[np.ndarray] = []  # (2, batch): integer network, float network
        self._first: tuple[np.ndarray, np.ndarray] | None = None
        self._varies = [False, False]

    def add(self, q: np.ndarray, wanted: np.ndarray) -> None:
        """Count one batch.

        Parameters
        ----------
        q : integer array (batch, *ONNX shape)
        wanted : array (batch, *shape), of the float network
        """
        stored = self._tensor.from_onnx(q).astype(np.float64)
        real = self._tensor.to_onnx(self._tensor.scale * (stored - self._tensor.zero_point))
        found, expected = real.reshape(len(q), -1), wanted.reshape(len(q), -1)
        self._signal.add(expected, found)
        if self._first is None:
            self._first = found[:1], expected[:1]
        for i, array in enumerate((found, expected)):
            self._varies[i] |= bool((array != self._first[i]).any())
        if self._is_index and found.shape[1] == 1:
            self._classes.append(np.stack([found[:, 0], expected[:, 0]]).astype(np.int64))
        elif found.shape[1] > 1 and found.shape[1] == max(wanted.shape[1:]):
            self._classes.append(np.stack([found.argmax(axis=1), expected.argmax(axis=1)]))

    def row(self) -> OutputRow:
        """Return the figures."""
        agreement = None
        if self._classes:
            found, wanted = np.concatenate(self._classes, axis=1)
            agreement = float((found == wanted).mean())
        decibels = None if self._is_index else self._signal.decibels
        return OutputRow(self.name, decibels, agreement)

    def warnings(self) -> list[str]:
        """Return a sentence for outputs that do not change, or that collapse to one class."""
        found = []
        if self._varies == [False, True]:
            found.append(
                f"output {self.name} is the same for all samples, that of the float network is "
                "not; look at the layers with the lowest SQNR"
            )
        if self._classes:
            (share, best), (wanted, _) = (
                _most_frequent(classes) for classes in np.concatenate(self._classes, axis=1)
            )
            if any(share > most and wanted <= varied for most, varied in COLLAPSED):
                found.append(
                    f"output {self.name} collapses to one class: {100 * share:.0f} % of the "
                    f"samples are class {best}; in the float network no class has more than "
                    f"{100 * wanted:.0f} %"
                )
        return found


def _is_index(network: IntegerNetwork, tensor: str) -> bool:
    """Whether a tensor holds the result of an ArgMax, whatever its shape."""
    writers = {layer.output: layer for layer in network.layers}
    layer = writers.get(tensor)
    while isinstance(layer, Reshape | Transpose):
        layer = writers.get(layer.inputs[0])
    return isinstance(layer, ArgMax)


def _most_frequent(classes: np.ndarray) -> tuple[float, int]:
    """Return the share and the number of the most frequent class."""
    values, counts = np.unique(classes, return_counts=True)
    best = int(counts.argmax())
    return float(counts[best] / classes.size), int(values[best])
