"""Accuracy of the integer networks on real data: ``python benchmarks/accuracy.py [NETWORK ...]``.

For each network of the shared folder, quantized on the first 64 calibration samples and run on all
test samples with the golden model: top-1 accuracy of the float and of the integer network, how
often their largest outputs agree, and the SQNR of the outputs (before a last Softmax), in dB.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np

import aidge_quant as aq

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # the table of networks is the tests' own

from networks import NETWORKS  # noqa: E402

SAMPLES = 64
MODES = {
    "single shift": {"single_shift": True},
    "single shift, signs": {"single_shift": True, "optimize_signs": True},
    "single shift, channel-wise, signs": {
        "single_shift": True,
        "channel_wise": True,
        "optimize_signs": True,
    },
    "multiplier": {},
}


def measure(name, options):
    """Return accuracy (or None), agreement and SQNR of one network in one mode, and float's."""
    data = NETWORKS[name].samples()
    reference = aq.load_onnx(NETWORKS[name].file())
    last = reference.outputs[0].port.node
    if last.type == "Softmax":
        reference.bypass(last)
    graph = aq.load_onnx(NETWORKS[name].file())
    aq.auto_assign_node_precision(graph, aq.dtype.int8, aq.dtype.int8, aq.dtype.int32)
    aq.quantize_network(graph, data.calibration[:SAMPLES], **options)
    network = aq.lower(graph)
    expected = aq.run(reference, data.test).reshape(len(data.test), -1).astype(np.float64)
    real = network.dequantize_output(network.run(network.quantize_input(data.test)))
    real = real.reshape(len(real), -1)
    noise = np.square(real - expected).sum()
    accuracy = [None, None]
    if data.labels is not None:
        accuracy = [(logits.argmax(1) == data.labels).mean() for logits in (expected, real)]
    agreement = (real.argmax(1) == expected.argmax(1)).mean()
    return *accuracy, agreement, 10 * np.log10(np.square(expected).sum() / noise)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", help=f"default: all of {', '.join(NETWORKS)}")
    names = parser.parse_args().networks or [n for n in NETWORKS if not n.endswith("_bn")]
    if "AIDGE_QUANT_SHARED" not in os.environ and not (ROOT.parent / "shared").is_dir():
        sys.exit("the trained networks are absent: AIDGE_QUANT_SHARED names their folder")
    print(f"accuracy % / agreement with float % / SQNR dB, {SAMPLES} calibration samples\n")
    print("| network | float | " + " | ".join(MODES) + " |")
    print("|---|---|" + "---|" * len(MODES))
    for name in names:
        cells, float_ = [], None
        for options in MODES.values():
            float_, accuracy, agreement, sqnr = measure(name, options)
            shown = "-" if accuracy is None else f"{100 * accuracy:.2f}"
            shown_agreement = "-" if accuracy is None else f"{100 * agreement:.2f}"
            cells.append(f"{shown} / {shown_agreement} / {sqnr:.1f}")
        shown = "-" if float_ is None else f"{100 * float_:.2f}"
        print(f"| {name} | {shown} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
