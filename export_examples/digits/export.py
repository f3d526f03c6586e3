"""From a trained float network to C that gives the same integers: ``make export`` runs this.

Reads ``digits.onnx`` and ``digits.npz`` beside this file (``train.py`` made them), quantizes
the network on the 64 calibration images with ``aidge_quant.quantize``, writes the C project to
FOLDER (``build/export/digits`` by default, replaced when it is an earlier export), compiles it
with the host's compiler, and runs all held-back digits through the float network, the golden
model in Python, and the C.
Exits with 1 if a single byte differs.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console

import aidge_quant as aq
from aidge_quant.export import check_export, read_metadata, run_c

HERE = Path(__file__).resolve().parent
NAME = "digits"
SELF_TEST_CASES = 8


@contextmanager
def step(console: Console, title: str) -> Iterator[None]:
    """Show that a step runs (a spinner on a terminal), then one line with its duration."""
    start = time.perf_counter()
    if console.is_terminal:
        with console.status(title):
            yield
    else:
        yield
    console.print(f"{title:<44}{time.perf_counter() - start:6.1f} s", highlight=False)


def accuracy(logits: np.ndarray, labels: np.ndarray) -> str:
    """Return the share of rows (n, 10) whose largest value is at the label (n,)."""
    right = int((logits.argmax(axis=1) == labels).sum())
    return f"{right / len(labels):8.2%}  ({right} of {len(labels)})"


def main() -> None:
    """Run the example and print what came out."""
    parser = argparse.ArgumentParser(description="Quantize the digits network and export it as C.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("build/export") / NAME)
    folder = parser.parse_args().folder
    console = Console()
    check_export(folder, name=NAME, overwrite=True)

    data = np.load(HERE / "digits.npz")
    calibration = data["x_calib"].astype(np.float32) / 16  # pixels are 0 to 16
    images = data["x_test"].astype(np.float32) / 16
    labels = data["y_test"]

    with step(console, "reading digits.onnx"):
        graph = aq.load_onnx(HERE / "digits.onnx")
    with step(console, f"float network on {len(images)} digits"):
        float_logits = aq.run(graph, images)
    with step(console, f"quantizing on {len(calibration)} images"):
        network = aq.quantize(graph, calibration).network
    with step(console, f"golden model on {len(images)} digits"):
        q_images = network.quantize_input(images)
        q_logits = network.run(q_images)
    with step(console, "writing the C"):
        aq.export_c(
            network, folder, name=NAME, test_inputs=q_images[:SELF_TEST_CASES], overwrite=True
        )
    with step(console, f"compiling the C, {len(images)} digits through it"):
        c_logits = run_c(folder, network, q_images)

    identical = int((c_logits == q_logits).all(axis=1).sum())
    sizes = read_metadata(folder)["sizes"]
    lines = [
        "",
        f"accuracy, float    {accuracy(float_logits, labels)}",
        f"accuracy, integer  {accuracy(network.dequantize_output(q_logits), labels)}",
        f"accuracy, C        {accuracy(network.dequantize_output(c_logits), labels)}",
        f"identical: {identical} of {len(labels)}",
        f"flash {sizes['parameters']} bytes of parameters, RAM {sizes['arena']} bytes",
        f"the C is in {folder}",
    ]
    console.print("\n".join(lines), highlight=False, soft_wrap=True)
    if identical != len(labels):
        sys.exit(1)


if __name__ == "__main__":
    main()
