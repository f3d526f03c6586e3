"""Accuracy of the integer networks on real data: ``python benchmarks/accuracy.py [NETWORK ...]``.

For each network of the shared folder, quantized on the first 64 calibration samples and run on all
test samples with the golden model: top-1 accuracy of the float and of the integer network, how
often their largest outputs agree, and the SQNR of the outputs (before a last Softmax), in dB.

``--peers`` prints another table: ours beside ONNX Runtime's static quantization and the official
int8 files, on the same samples (the first 256 calibration samples, or all there are).
"""

import argparse
import os
import sys
from pathlib import Path

import aidge_quant as aq

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # the table of networks is the tests' own

from figures import float_outputs, integer_outputs, judge  # noqa: E402
from networks import NETWORKS  # noqa: E402

SAMPLES = 64
PEER_SAMPLES = 256
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
#: The modes that stand beside the peers; fixed, not chosen by their result on the test samples.
BESIDE_PEERS = {
    "page, tensor-wise": MODES["single shift, signs"],
    "page, channel-wise": MODES["single shift, channel-wise, signs"],
}
#: The trained networks with more than toy data, in the order of the table.
WITH_PEERS = (
    "resnet8_cifar10",
    "dscnn_kws",
    "dscnn_kws_tfl",
    "resnet20_cifar10",
    "mobilenetv1_025",
    "ad01_autoencoder",
    "streaming_wakeword",
    "mnist_cntk",
)


def by_page(name, calibration, options):
    """Return the integer network that the published pipeline gives with these options."""
    graph = aq.load_onnx(NETWORKS[name].file())
    aq.auto_assign_node_precision(graph, aq.dtype.int8, aq.dtype.int8, aq.dtype.int32)
    aq.quantize_network(graph, calibration, **options)
    return aq.lower(graph)


def by_recipe(name, calibration, effort, per_channel):
    """Return the integer network that our own recipe gives."""
    graph = aq.load_onnx(NETWORKS[name].file())
    result = aq.quantize(
        graph, calibration, effort=effort, per_channel=per_channel, single_shift=True, seed=0
    )
    return result.network


def measure(name, options):
    """Return accuracy (or None), agreement and SQNR of one network in one mode, and float's."""
    data = NETWORKS[name].samples()
    expected = float_outputs(name)
    network = by_page(name, data.calibration[:SAMPLES], options)
    found = judge(integer_outputs(network, data.test), expected, data.labels)
    return judge(expected, expected, data.labels).accuracy, found


def percent(share):
    return "-" if share is None else f"{100 * share:.2f}"


def print_modes(names):
    """Print the table of the published pipeline's modes."""
    print(f"accuracy % / agreement with float % / SQNR dB, {SAMPLES} calibration samples\n")
    print("| network | float | " + " | ".join(MODES) + " |")
    print("|---|---|" + "---|" * len(MODES))
    for name in names:
        results = [measure(name, options) for options in MODES.values()]
        cells = [
            f"{percent(found.accuracy)} / {percent(found.agreement)} / {found.sqnr:.1f}"
            for _, found in results
        ]
        print(f"| {name} | {percent(results[-1][0])} | " + " | ".join(cells) + " |", flush=True)


def progress(text):
    print(text, file=sys.stderr, flush=True)


def ours(name, calibration, effort):
    """Return the figures of our networks by column."""
    networks = {}
    if hasattr(aq, "quantize"):
        for column, per_channel in (("tensor-wise", False), ("per-channel", True)):
            progress(f"{name}: quantize, {effort}, {column}")
            network = by_recipe(name, calibration, effort, per_channel)
            networks[f"quantize {effort}, {column}"] = network
    for column, options in BESIDE_PEERS.items():
        progress(f"{name}: {column}")
        networks[column] = by_page(name, calibration, options)
    data, expected = NETWORKS[name].samples(), float_outputs(name)
    return {
        column: judge(integer_outputs(network, data.test), expected, data.labels)
        for column, network in networks.items()
    }


def print_peers(names, effort, count):
    """Print the table of ours beside the peers."""
    import peer_tflite
    from peer_onnxruntime import onnxruntime_figures, onnxruntime_version

    notes, header = [], None
    print("accuracy % / agreement with float % / SQNR dB of the logits\n")
    for name in names:
        data = NETWORKS[name].samples()
        calibration = data.calibration[:count]
        row = {str(k): str(v) for k, v in ours(name, calibration, effort).items()}
        for column, per_channel in (("ORT per-tensor", False), ("ORT per-channel", True)):
            found, setting = onnxruntime_figures(name, calibration, per_channel, progress)
            row[column] = "-" if found is None else f"{found} ({setting})"
            if found is None:
                notes.append(f"{name}, {column}: refused: {setting}")
        if peer_tflite.available():
            row["official int8"] = str(peer_tflite.official_figures(name) or "-")
        if header is None:
            header = ["network (calibration, test)", "float", *row]
            print("| " + " | ".join(header) + " |")
            print("|" + "---|" * len(header))
        expected = float_outputs(name)
        float_ = percent(judge(expected, expected, data.labels).accuracy)
        sizes = f"{name} ({len(calibration)}, {len(data.test)})"
        print("| " + " | ".join([sizes, float_, *row.values()]) + " |", flush=True)
    print(
        f"\nONNX Runtime {onnxruntime_version}: the best of its settings by SQNR on the test "
        "samples, in its favour, with a full multiplier for each output. Ours end every layer in "
        "one shift; their options are the same for all networks."
    )
    if not hasattr(aq, "quantize"):
        notes.append("this version of aidge_quant has no quantize(): its columns are left out")
    if not peer_tflite.available():
        notes.append("official int8 left out: pip install ai-edge-litert")
    for note in notes:
        print(f"- {note}")


def positive(text):
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number above 0")
    return int(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("networks", nargs="*", metavar="NETWORK", help=f"of {', '.join(NETWORKS)}")
    add("--networks", nargs="+", dest="named", default=[], metavar="NETWORK", help="the same")
    add("--peers", action="store_true", help="ours beside ONNX Runtime and official int8 files")
    add("--effort", default="balanced", help="of quantize(), with --peers")
    add("--calibration-count", type=positive, default=PEER_SAMPLES, help="with --peers")
    options = parser.parse_args()
    names = options.networks + options.named
    unknown = [name for name in names if name not in NETWORKS]
    if unknown:
        parser.error(f"unknown networks {', '.join(unknown)}, expected of {', '.join(NETWORKS)}")
    if "AIDGE_QUANT_SHARED" not in os.environ and not (ROOT.parent / "shared").is_dir():
        sys.exit("the trained networks are absent: AIDGE_QUANT_SHARED names their folder")
    if options.peers:
        print_peers(names or WITH_PEERS, options.effort, options.calibration_count)
    else:
        print_modes(names or [n for n in NETWORKS if not n.endswith("_bn")])


if __name__ == "__main__":
    main()
