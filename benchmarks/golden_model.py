"""Images per second of the golden model beside int8 runtimes.

``python benchmarks/golden_model.py [NETWORK ...]``, one thread each; with ``--threads N`` each with
so many, and the golden model with one beside it.  The golden model takes int8 images, as
``quantize_input`` makes them.  ONNX Runtime runs the QDQ model of its own quantize_static, fed with
float images that it quantizes itself, of two types of activations the one that is faster here.
LiteRT runs the official int8 files of MLPerf Tiny, where it is installed, one image at a time.

All contenders take turns, many rounds long; shown are medians, and medians of the ratios within a
round: above 1 the golden model is faster.  The peers round otherwise: this compares work, not
results.

With ``--quantization`` it times ``quantize_network`` instead, beside quantize_static and, where it
is installed, Aidge (MinMax, 256 images of resnet20), reading the model included, in turns as well;
and once ``quantize``, which does much more, at its effort "fast".
With ``--ranges N`` it tells the peak of memory of ``compute_ranges`` over N images of ResNet18.
"""

import argparse
import contextlib
import io
import logging
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

import aidge_quant as aq

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # the table of networks and data is the tests' own

import imagenet_networks  # noqa: E402
import networks  # noqa: E402
import peer_aidge  # noqa: E402
import peer_tflite  # noqa: E402
import shared_data  # noqa: E402
from peer_onnxruntime import ACTIVATIONS, OPSET, Samples, without_softmax  # noqa: E402
from run import machine  # noqa: E402

#: Names of the rows, in the order of the table, and the networks that they time.
CASES = {
    "resnet18": None,
    "mobilenetv2": None,
    "resnet8": "resnet8_cifar10",
    "dscnn": "dscnn_kws_tfl",
    "ad01": "ad01_autoencoder",
    "resnet20": "resnet20_cifar10",
    "mobilenetv1_025": "mobilenetv1_025",
}
CALIBRATION = 32
#: Seconds that one turn of a contender lasts at least, and of rest before it: threads of the one
#: before may go on waiting for work.
TURN, REST = 0.02, 0.02


def model_and_samples(case):
    """Return an ONNX model with a batch of any size, and samples for it."""
    name = CASES[case]
    if name is None:
        model = imagenet_networks.BUILDERS[case]()
        return model, networks.random_samples((3, 224, 224), CALIBRATION, 0)
    model = without_softmax(onnx.load(networks.NETWORKS[name].file()))
    if model.opset_import[0].version < OPSET:
        model = onnx.version_converter.convert_version(model, OPSET)
    constants = {tensor.name for tensor in model.graph.initializer}
    for info in (*model.graph.input, *model.graph.output):
        if info.name not in constants:
            info.type.tensor_type.shape.dim[0].dim_param = "n"
    del model.graph.value_info[:]  # they would state the old batch
    return model, networks.NETWORKS[name].samples().calibration


# -- Contenders: functions that run a batch


def ours(path, samples, batch, single_shift, counts):
    """Return a run of the golden model for each number of threads."""
    graph = aq.load_onnx(path)
    aq.auto_assign_node_precision(graph, aq.dtype.int8, aq.dtype.int8, aq.dtype.int32)
    aq.quantize_network(graph, list(samples[:CALIBRATION, None]), single_shift=single_shift)
    network = aq.lower(graph)
    q = network.quantize_input(np.resize(samples, (batch, *samples.shape[1:])))
    return {count: lambda count=count: network.run(q, threads=count) for count in counts}


def quantize_peer(path, target, samples, activations, per_channel=False):
    """Write the model that quantize_static makes."""
    name = onnxruntime.InferenceSession(str(path)).get_inputs()[0].name
    with contextlib.redirect_stdout(io.StringIO()):
        quantize_static(
            str(path),
            str(target),
            Samples(name, samples),
            quant_format=QuantFormat.QDQ,
            per_channel=per_channel,
            activation_type=activations,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )


def onnxruntime_runs(path, samples, batch, folder, threads):
    """Return a run of ONNX Runtime for each type of activations."""
    x = np.resize(samples, (batch, *samples.shape[1:]))
    found = {}
    for label, kind in ACTIVATIONS.items():
        target = folder / f"{path.stem}_{label}.onnx"
        if not target.exists():
            quantize_peer(path, target, samples[:CALIBRATION], kind)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(target), options, ["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: x}
        found[label] = lambda session=session, feed=feed: session.run(None, feed)
    return found


def litert_run(case, threads):
    """Return a run of LiteRT with one image, None where it or its file is not there."""
    file = peer_tflite.OFFICIAL.get(CASES[case])
    if file is None or not peer_tflite.available():
        return None
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(shared_data.shared_path("data", file)), num_threads=threads)
    interpreter.allocate_tensors()
    return interpreter.invoke


# -- Measuring


def repetitions(run):
    """Return how many calls fill a turn, after warming up."""
    run()
    start = time.perf_counter()
    run()
    return max(1, int(TURN / max(time.perf_counter() - start, 1e-7)))


def seconds(run, count):
    """Return the seconds of one call, the mean of a turn."""
    start = time.perf_counter()
    for _ in range(count):
        run()
    return (time.perf_counter() - start) / count


def in_turns(runs, rounds):
    """Return the seconds of each contender, an array (rounds,) by name."""
    counts = {name: repetitions(run) for name, run in runs.items()}
    found = {name: np.zeros(rounds) for name in runs}
    for turn in range(rounds):
        for name, run in runs.items():
            time.sleep(REST)
            run()
            found[name][turn] = seconds(run, counts[name])
    return found


def row(case, batch, options, folder):
    """Return a row of the table."""
    path = folder / f"{case}.onnx"
    model, samples = model_and_samples(case)
    if not path.exists():
        onnx.save(model, path)
    threads = options.threads
    peers = onnxruntime_runs(path, samples, batch, folder, threads)
    trial = in_turns(peers, 5)
    fastest = min(trial, key=lambda label: np.median(trial[label]))
    own_runs = ours(path, samples, batch, not options.multipliers, sorted({1, threads}))
    runs = {"ours": own_runs[threads], "one thread": own_runs[1], "peer": peers[fastest]}
    litert = litert_run(case, threads) if batch == 1 else None
    if litert is not None:
        runs["litert"] = litert
    times = in_turns(runs, options.rounds)

    def ratio(name):
        if name not in times:
            return "-"
        each = times[name] / times["ours"]
        return f"{np.median(each):.2f} [{each.min():.2f} to {each.max():.2f}]"

    own, peer = (batch / np.median(times[name]) for name in ("ours", "peer"))
    cells = [case, batch, f"{own:.0f}", f"{peer:.0f} {fastest}", ratio("peer"), ratio("litert")]
    cells += [ratio("one thread")] if threads > 1 else []
    return f"| {' | '.join(map(str, cells))} |"


def quantization(rounds, folder):
    """Return a line on the time of quantization."""
    model, _ = model_and_samples("resnet20")
    path = folder / "resnet20.onnx"
    onnx.save(model, path)
    samples = networks.NETWORKS[CASES["resnet20"]].samples()
    images = np.concatenate([samples.calibration, samples.test])[:256]

    def own():
        graph = aq.load_onnx(path)
        aq.auto_assign_node_precision(graph, aq.dtype.int8, aq.dtype.int8, aq.dtype.int32)
        aq.quantize_network(graph, list(images[:, None]), single_shift=True)

    def peer():
        quantize_peer(path, folder / "peer.onnx", images, QuantType.QInt8)

    def reference():
        peer_aidge.quantize(path, images)

    runs = {"quantize_network": own, "quantize_static": peer}
    if peer_aidge.available():
        runs["Aidge"] = reference
    times = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(seconds(run, 1))
    own_times = np.array(times.pop("quantize_network"))
    line = f"resnet20, {len(images)} images, MinMax: quantize_network {np.median(own_times):.2f} s"
    for name, found in times.items():
        ratio = np.median(found / own_times)
        line += f", {name} {np.median(found):.2f} s (ratio {ratio:.2f})"
    recipe = seconds(lambda: aq.quantize(path, images, effort="fast"), 1)
    return f"{line}; quantize {recipe:.1f} s"


def memory_of_ranges(count, folder):
    """Return a line on the memory that the ranges of ResNet18 take."""
    path = folder / "resnet18.onnx"
    onnx.save(model_and_samples("resnet18")[0], path)
    graph = aq.load_onnx(path)
    start = time.perf_counter()
    images = (networks.random_samples((3, 224, 224), 1, seed) for seed in range(count))
    aq.compute_ranges(graph, images, False)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"resnet18, {count} images: {time.perf_counter() - start:.0f} s, peak {peak:.0f} MB"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", nargs="*", help=f"of {', '.join(CASES)}; default: all")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--multipliers", action="store_true", help="instead of single shifts")
    parser.add_argument("--quantization", action="store_true", help="time the quantization")
    parser.add_argument("--ranges", type=int, metavar="N", help="memory of the ranges of N images")
    options = parser.parse_args()
    unknown = [name for name in options.network if name not in CASES]
    if unknown:
        sys.exit(f"benchmark {unknown[0]}: expected one of {', '.join(CASES)}")
    if min(*options.batch, options.rounds, options.threads) < 1:
        sys.exit("--batch, --rounds and --threads: expected numbers from 1")
    logging.getLogger().setLevel(logging.ERROR)
    print(f"{machine()}, onnxruntime {onnxruntime.__version__}\n")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if options.ranges is not None:
            print(memory_of_ranges(options.ranges, folder))
            return
        if options.quantization:
            print(quantization(min(options.rounds, 5), folder))
            return
        head = ["network", "batch", "ours images/s", "ONNX Runtime", "ratio", "over LiteRT"]
        head += ["over one thread"] if options.threads > 1 else []
        print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
        for case in options.network or CASES:
            for batch in options.batch:
                print(row(case, batch, options, folder), flush=True)


if __name__ == "__main__":
    main()
