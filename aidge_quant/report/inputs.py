"""Whether calibration data, samples and the range of the quantized input belong together."""

from collections.abc import Mapping

import numpy as np

from aidge_quant.graph import GraphView
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.ptq.calibration import Calibration, calibration_batches
from aidge_quant.report.origin import is_tuned

#: Fewest calibration samples from which ranges can be told.
FEWEST_SAMPLES = 32
#: How far samples may lie outside of a range, as a share of its width. Of the quantized input that
#: holds where a recipe has chosen what to cut off.
BEYOND = 0.10
#: Which share of a range the samples are to use at least.
USED = 0.25
#: How far the means may lie apart, in standard deviations of the calibration data.
SHIFT = 1.0
#: Which share of the input values may be cut off by the quantized input.
CUT = 0.01


def calibration_warnings(
    graph: GraphView, feeds: Mapping[str, np.ndarray], calibration: Calibration | None
) -> list[str]:
    """Return what is doubtful about a calibration set, compared with the samples.

    Parameters
    ----------
    graph : GraphView
        The float network.
    feeds : mapping of array (batch, *shape) by input name
        The samples.
    calibration : calibration set or None
    """
    if calibration is None:
        return []
    batches = calibration_batches(graph, calibration)
    first = next(iter(feeds))
    count = sum(len(batch[first]) for batch in batches)
    warnings = []
    if count < FEWEST_SAMPLES:
        warnings.append(
            f"the calibration set has {count} samples, expected {FEWEST_SAMPLES} or more: ranges "
            "and clipping follow from few values"
        )
    for name, array in feeds.items():
        values = np.concatenate([batch[name] for batch in batches]).astype(np.float64)
        warnings += _compare(name, values, array.astype(np.float64))
    return warnings


def _compare(name: str, calibration: np.ndarray, samples: np.ndarray) -> list[str]:
    low, high = float(calibration.min()), float(calibration.max())
    if low == high:
        return [f"input {name}: every calibration value is {low:g}; calibrate on real samples"]
    found = []
    least, most = float(samples.min()), float(samples.max())
    width = high - low
    reach = f"samples reach from {least:g} to {most:g}, calibration data from {low:g} to {high:g}"
    if most > high + BEYOND * width or least < low - BEYOND * width:
        found.append(f"input {name}: {reach}; calibrate on data that covers the samples")
    if most - least < USED * width:
        found.append(f"input {name}: {reach}; calibrate on data of the same range")
    shift = abs(float(samples.mean()) - float(calibration.mean()))
    if shift > SHIFT * float(calibration.std()):
        found.append(
            f"input {name}: the mean of the samples is {samples.mean():g}, that of the calibration "
            f"data {calibration.mean():g}; calibrate on data prepared as the samples are"
        )
    return found


def input_warnings(network: IntegerNetwork, feeds: Mapping[str, np.ndarray]) -> list[str]:
    """Return where the samples do not look like the range of the quantized input.

    Parameters
    ----------
    network : IntegerNetwork
    feeds : mapping of array (batch, *ONNX shape) by input name
        The samples.
    """
    found = []
    remedy = "" if is_tuned(network) else ", or give input_range"
    for tensor_name, name in zip(network.inputs, network.input_names, strict=True):
        tensor, values = network.tensor(tensor_name), feeds[name].astype(np.float64)
        low = float(tensor.scale) * (tensor.dtype.min - tensor.zero_point)
        high = float(tensor.scale) * (tensor.dtype.max - tensor.zero_point)
        margin = BEYOND * (high - low) if is_tuned(network) else float(tensor.scale) / 2
        cut = float(np.mean((values < low - margin) | (values > high + margin)))
        reach = f"the quantized input holds {low:g} to {high:g}"
        if cut > CUT:
            found.append(
                f"input {name}: {reach}, {100 * cut:.1f} % of the sample values lie beyond; "
                f"calibrate on data that covers the samples{remedy}"
            )
        if float(values.max()) < USED * high and float(values.min()) > USED * low:
            found.append(
                f"input {name}: {reach}, the samples only {values.min():g} to {values.max():g}; "
                f"calibrate on data of the same range{remedy}"
            )
    return found
