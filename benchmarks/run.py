"""Time the way from ONNX to C: ``make bench`` or ``python benchmarks/run.py [NETWORK ...]``.

For each network: seconds to quantize (single shift, 64 calibration images), lower and export;
images per second of the float executor and of the golden model (one thread); microseconds per
inference of the exported C at -O2 on this machine.  The digits are in the repository; the
others need the shared data (AIDGE_QUANT_SHARED, else ``shared`` beside the checkout) and are
left out, with the reason, without it.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import aidge_quant as aq

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("AIDGE_QUANT_SHARED") or ROOT.parent / "shared") / "data"
DIGITS = ROOT / "export_examples" / "digits"
CALIBRATION = 64
IMAGES = 256
CC = os.environ.get("CC", "cc")

TIMER = """
#include <stdio.h>
#include <time.h>
#include "NAME.h"

static NAME_t net;
static long long input[LIMIT];
static long long output[LIMIT];

int main(void)
{
    const clock_t start = clock();
    long runs = 0;

    NAME_init(&net);
    do {
        NAME_run(&net, (void *)input, (void *)output);
        runs++;
    } while ((clock() - start) < CLOCKS_PER_SEC);
    printf("%.2f\\n", 1e6 * (double)(clock() - start) / CLOCKS_PER_SEC / (double)runs);
    return 0;
}
"""


@dataclass(frozen=True)
class Case:
    """A network, its data, and how stored values become what the network is fed with."""

    model: Path
    data: Path
    calibration: str
    images: str
    feed: Callable[[np.ndarray], np.ndarray]


def cifar(x: np.ndarray) -> np.ndarray:
    mean = np.array([0.485, 0.456, 0.406]).reshape(3, 1, 1)
    deviation = np.array([0.229, 0.224, 0.225]).reshape(3, 1, 1)
    return (x / 255 - mean) / deviation


CIFAR10 = (SHARED / "cifar10_small.npz", "x_calib", "x_test")
CASES = {
    "digits": Case(
        DIGITS / "digits.onnx", DIGITS / "digits.npz", "x_calib", "x_test", lambda x: x / 16
    ),
    "resnet8": Case(SHARED / "resnet8_cifar10.onnx", *CIFAR10, lambda x: x),
    "resnet20": Case(SHARED / "resnet20_cifar10.onnx", *CIFAR10, cifar),
    "mnist": Case(
        SHARED / "mnist_cntk.onnx", SHARED / "mnist_small.npz", "x_calib", "x_test", lambda x: x
    ),
    "autoencoder": Case(
        SHARED / "ad01_autoencoder.onnx",
        SHARED / "ad01_one_clip.npz",
        "x_calib",
        "x_test",
        lambda x: x,
    ),
}


def timed(function: Callable, *arguments, **keywords) -> tuple[float, object]:
    """Return the seconds of one call, and what it returned."""
    start = time.perf_counter()
    result = function(*arguments, **keywords)
    return time.perf_counter() - start, result


def c_microseconds(folder: Path, name: str, values: int) -> float:
    """Return the time of one inference of the exported C at -O2, buffers of ``values`` each."""
    source = folder / "timer.c"
    source.write_text(TIMER.replace("NAME", name).replace("LIMIT", str(values)), encoding="utf-8")
    program = folder / "timer"
    sources = [str(source), str(folder / "src" / f"{name}.c")]
    command = [CC, "-O2", "-std=c99", f"-I{folder / 'include'}", *sources, "-o", str(program)]
    subprocess.run(command, check=True)
    done = subprocess.run([str(program)], check=True, capture_output=True, text=True)
    return float(done.stdout)


def measure(name: str, case: Case) -> str:
    """Return one row of the table."""
    data = np.load(case.data)
    calibration = case.feed(data[case.calibration][:CALIBRATION]).astype(np.float32)
    images = case.feed(data[case.images][:IMAGES]).astype(np.float32)
    graph = aq.load_onnx(case.model)
    float_seconds, _ = timed(aq.run, graph, images)
    aq.auto_assign_node_precision(graph, aq.dtype.int8, aq.dtype.int8, aq.dtype.int32)
    quantize_seconds, _ = timed(
        aq.quantize_network, graph, list(calibration[:, None]), single_shift=True
    )
    lower_seconds, network = timed(aq.lower, graph)
    q = network.quantize_input(images)
    network.run(q[:1])
    golden_seconds, logits = timed(network.run, q)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / name
        export_seconds, _ = timed(aq.export_c, network, folder, name=name, test_inputs=q[:2])
        values = max(q[0].size, logits[0].size)
        inference = c_microseconds(folder, name, values) if shutil.which(CC) else float("nan")
    n = len(images)
    return (
        f"| {name} | {quantize_seconds:.2f} | {lower_seconds:.2f} | {export_seconds:.2f} "
        f"| {n / float_seconds:.0f} | {n / golden_seconds:.0f} | {inference:.1f} |"
    )


def machine() -> str:
    """Return the processor, the compiler and the versions that the figures belong to."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        models = [
            line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        processor = models[0].split(":", 1)[1].strip() if models else processor
    compiler = "no C compiler"
    if shutil.which(CC):
        done = subprocess.run([CC, "--version"], check=True, capture_output=True, text=True)
        compiler = done.stdout.splitlines()[0]
    return (
        f"{processor}; {compiler}; Python {platform.python_version()}, numpy {np.__version__}, "
        f"aidge_quant {aq.__version__}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the way from ONNX to C.")
    parser.add_argument("network", nargs="*", help=f"of {', '.join(CASES)}; default: all")
    names = parser.parse_args().network or list(CASES)
    unknown = [name for name in names if name not in CASES]
    if unknown:
        sys.exit(f"benchmark {unknown[0]}: expected one of {', '.join(CASES)}")
    print(machine())
    print(
        "\n| network | quantize s | lower s | export s | float images/s | golden images/s "
        "| C -O2 us/image |\n|---|---|---|---|---|---|---|"
    )
    for name in names:
        case = CASES[name]
        if case.model.is_file():
            print(measure(name, case), flush=True)
        else:
            print(f"| {name} | left out: {case.model.name} is not in {SHARED} | | | | | |")


if __name__ == "__main__":
    main()
