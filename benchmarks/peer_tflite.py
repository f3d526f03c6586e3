"""The official int8 files of MLPerf Tiny in LiteRT, compared with their float twins.

Logits are the input of the last Softmax, which the interpreter keeps when it is asked to preserve
all tensors.  Nothing is inverted: the int8 logits are those the file itself computes, times their
scale.  LiteRT runs its default kernels (XNNPACK), whose rounding is not that of its built-in ones:
with those the figures differ by up to 0.25 points of accuracy and 0.8 dB, in both directions.
"""

import warnings
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from figures import float_outputs, judge
from networks import NETWORKS
from peer_cache import digest, remembered
from shared_data import shared_path

#: The float network of each file: same training run, same data.
OFFICIAL = {
    "resnet8_cifar10": "resnet8_cifar10_int8.tflite",
    "dscnn_kws_tfl": "dscnn_kws_int8.tflite",
    "ad01_autoencoder": "ad01_autoencoder_int8.tflite",
    "streaming_wakeword": "streaming_wakeword_int8.tflite",
}


def available():
    """Return whether LiteRT is installed."""
    return find_spec("ai_edge_litert") is not None


def interpreter(path):
    """Return an interpreter that keeps every tensor, ready to run one sample."""
    from ai_edge_litert.interpreter import Interpreter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # keeping tensors costs memory
        result = Interpreter(str(path), experimental_preserve_all_tensors=True)
    result.allocate_tensors()
    return result


def logits_tensor(network):
    """Return index, scale and zero point of the tensor before the last Softmax, else the output."""
    # The operators have no public list; delegated parts stand at its end, whatever their order.
    last = [op for op in network._get_ops_details() if op["op_name"] == "SOFTMAX"][-1:]
    index = last[0]["inputs"][0] if last else network.get_output_details()[0]["index"]
    found = next(t for t in network.get_tensor_details() if t["index"] == index)
    return index, *found["quantization"]


def outputs(path, samples):
    """Return the real logits (n, classes) of an int8 file on float samples (n, ...) in NCHW."""
    network = interpreter(path)
    source = network.get_input_details()[0]
    scale, zero_point = source["quantization"]
    integers = np.clip(np.rint(samples / scale) + zero_point, -128, 127).astype(np.int8)
    if integers.ndim == 4:  # (n, channels, height, width) -> (n, height, width, channels)
        integers = integers.transpose(0, 2, 3, 1)
    index, scale, zero_point = logits_tensor(network)
    result = []
    for sample in integers:
        network.set_tensor(source["index"], np.ascontiguousarray(sample[None]))
        network.invoke()
        result.append(network.get_tensor(index).reshape(-1).astype(np.float64))
    return (np.stack(result) - zero_point) * scale


def official_figures(name):
    """Return the figures of the official int8 file, None where there is no file."""
    if name not in OFFICIAL:
        return None
    path, data = shared_path("data", OFFICIAL[name]), NETWORKS[name].samples()
    litert = f"ai-edge-litert {version('ai-edge-litert')}"
    key = digest(
        Path(__file__),
        path,
        NETWORKS[name].file(),
        np.ascontiguousarray(data.test),
        litert,
    )
    return remembered(
        f"tflite-{name}",
        key,
        lambda: judge(outputs(path, data.test), float_outputs(name), data.labels),
    )
