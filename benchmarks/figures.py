"""What a quantized network is judged by, and the float outputs it is judged against."""

from dataclasses import asdict, dataclass

import numpy as np
from networks import NETWORKS

import aidge_quant as aq


@dataclass(frozen=True)
class Figures:
    """How near the outputs of a quantized network are to the float network's.

    Attributes
    ----------
    accuracy : float or None, 0 to 1
        Top-1; None where there are no classes.
    agreement : float or None, 0 to 1
        Share of samples whose largest output is that of the float network.
    sqnr : float, dB
        Power of the float outputs over that of the difference, before a last Softmax.
    """

    accuracy: float | None
    agreement: float | None
    sqnr: float

    def __str__(self):
        shares = (self.accuracy, self.agreement)
        shown = ["-" if share is None else f"{100 * share:.2f}" for share in shares]
        return " / ".join([*shown, f"{self.sqnr:.2f}"])

    def as_json(self):
        """Return the fields as a dictionary."""
        return asdict(self)


def judge(outputs, expected, labels):
    """Return the `Figures` of outputs (n, ...) against float outputs (n, ...) and labels (n,)."""
    outputs = np.asarray(outputs, np.float64).reshape(len(outputs), -1)
    expected = np.asarray(expected, np.float64).reshape(len(expected), -1)
    if outputs.shape != expected.shape:
        raise aq.ShapeError(f"outputs have shape {outputs.shape}, expected {expected.shape}")
    noise = np.square(outputs - expected).sum()
    ratio = np.square(expected).sum() / noise if noise else np.inf
    sqnr = float(10 * np.log10(ratio))
    if labels is None:
        return Figures(None, None, sqnr)
    top = outputs.argmax(axis=1)
    agreement = float((top == expected.argmax(axis=1)).mean())
    return Figures(float((top == labels).mean()), agreement, sqnr)


def float_outputs(name):
    """Return the outputs (n, classes) of the float network on its test samples, before Softmax."""
    graph = aq.load_onnx(NETWORKS[name].file())
    last = graph.outputs[0].port.node
    if last.type == "Softmax":
        graph.bypass(last)
    outputs = aq.run(graph, NETWORKS[name].samples().test)
    return outputs.reshape(len(outputs), -1)


def integer_outputs(network, samples):
    """Return the real outputs (n, classes) of our integer network, run by the golden model."""
    real = network.dequantize_output(network.run(network.quantize_input(samples)))
    return real.reshape(len(real), -1)
