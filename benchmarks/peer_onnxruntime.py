"""ONNX Runtime's static quantization of the shared networks, by its own tools and run by it.

QDQ, every combination of three calibration methods and two activation types; int8 weights; after
its own preparation of the model (`quant_pre_process`), and without it where that makes a model
which it then refuses.  The last Softmax goes first, so that logits are compared.  The best setting
is chosen by its SQNR on the *test* samples: in the peer's favour, ours are never chosen so.
"""

import contextlib
import io
import itertools
import logging
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnx.version_converter
import onnxruntime
from figures import float_outputs, judge
from networks import NETWORKS
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from peer_cache import digest, remembered

onnxruntime_version = onnxruntime.__version__
#: The first with QuantizeLinear along an axis; older models are converted for it.
OPSET = 13
METHODS = ("MinMax", "Entropy", "Percentile")
ACTIVATIONS = {"S8S8": QuantType.QInt8, "U8S8": QuantType.QUInt8}


class Samples(CalibrationDataReader):
    """Feeds one sample at a time."""

    def __init__(self, name, samples):
        self.feeds = iter([{name: sample[None]} for sample in samples])

    def get_next(self):
        """Return the next feed, None at the end."""
        return next(self.feeds, None)


def without_softmax(model):
    """Remove a last Softmax of an ONNX model, in place; return the model."""
    last = model.graph.node[-1]
    if last.op_type == "Softmax":
        output = model.graph.output[0]
        if last.output[0] != output.name:
            raise ValueError(f"{last.name}: expected the Softmax to give the output {output.name}")
        output.name = last.input[0]
        model.graph.node.remove(last)
    return model


def run(path, samples):
    """Return the outputs (n, classes) of a model, in batches if it takes them."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    step = 1 if source.shape[0] == 1 else 50
    parts = [
        session.run(None, {source.name: samples[i : i + step]})[0].reshape(-1)
        for i in range(0, len(samples), step)
    ]
    return np.concatenate(parts).reshape(len(samples), -1)


def quantized(name, calibration, folder, method, activation, per_channel, prepare):
    """Write the model quantized by ONNX Runtime into a folder; return its path."""
    model = without_softmax(onnx.load(NETWORKS[name].file()))
    if per_channel and model.opset_import[0].version < OPSET:
        model = onnx.version_converter.convert_version(model, OPSET)
    constants = {tensor.name for tensor in model.graph.initializer}
    source = next(info.name for info in model.graph.input if info.name not in constants)
    plain, ready, path = (folder / f"{stage}.onnx" for stage in ("plain", "ready", "quantized"))
    onnx.save(model, plain)
    if prepare:
        quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
    quantize_static(
        str(ready if prepare else plain),
        str(path),
        Samples(source, calibration),
        quant_format=QuantFormat.QDQ,
        per_channel=per_channel,
        activation_type=ACTIVATIONS[activation],
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod[method],
    )
    return path


def measured(name, calibration, expected, *setting):
    """Return the `Figures` of one setting, or why ONNX Runtime refuses it."""
    data = NETWORKS[name].samples()
    logging.getLogger().setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # its calibrators print
                path = quantized(name, calibration, Path(folder), *setting)
            outputs = run(path, data.test)
        except Exception as error:  # noqa: BLE001 - the peer raises types of its own
            return f"{type(error).__name__}: {error}".splitlines()[0]
    return judge(outputs, expected, data.labels)


def onnxruntime_figures(name, calibration, per_channel, report=print):
    """Return the figures of the best of all settings, and the setting; or None and the reasons."""
    data = NETWORKS[name].samples()
    expected = float_outputs(name)
    granularity = "channel" if per_channel else "tensor"
    found, reasons = {}, {}
    key = digest(
        Path(__file__),
        NETWORKS[name].file(),
        np.ascontiguousarray(calibration),
        np.ascontiguousarray(data.test),
        f"onnxruntime {onnxruntime.__version__}",
    )
    # What its own preparation makes of a model it may then refuse: then the model as it is.
    for method, activation in itertools.product(METHODS, ACTIVATIONS):
        for prepare in (True, False):
            setting = (method, activation, per_channel, prepare)

            def measure(setting=setting):
                return measured(name, calibration, expected, *setting)

            words = f"{method} {activation}{'' if prepare else ' unprepared'}"
            label = f"onnxruntime-{name}-{granularity}-{words.replace(' ', '-')}"
            result = remembered(label, key, measure)
            report(f"{label}: {result}")
            if not isinstance(result, str):
                found[words] = result
                break
            reasons[result] = None
    if not found:
        return None, "; ".join(reasons)
    best = max(found, key=lambda setting: found[setting].sqnr)
    return found[best], best
