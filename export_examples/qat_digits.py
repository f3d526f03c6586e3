r"""Quantization-aware training to 4 bits, end to end: float network, training, integers, C.

::

    python export_examples/qat_digits.py [FOLDER] [--bits 4] [--epochs 12]

The float network is that of ``export_examples/digits`` (convolution, depthwise-separable and
residual block; 8 x 8 digits of scikit-learn, which the extra ``examples`` installs).  Weights and
activations get 4 bits, the first and the last layer 8, as published results have it.  The steps
train as powers of two: every layer of the integer network then ends in one shift, and computes
exactly what was trained.  The 500 held-back digits take no part in the training.

Half a minute.  Exits with 1 if the integer network or the C differ from what was
trained.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from sklearn.datasets import load_digits

import aidge_quant as aq
from aidge_quant import lsq
from aidge_quant.export import check_export
from aidge_quant.training import SGD, fit

HERE = Path(__file__).resolve().parent / "digits"
NAME = "qat_digits"


def samples() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return images in [0, 1] and labels: those to train with, and the held-back ones."""
    with np.load(HERE / "digits.npz") as data:
        x_test, y_test = data["x_test"], data["y_test"].astype(np.int64)
    held_back = {image.astype(np.uint8).tobytes() for image in x_test}
    digits = load_digits()
    images = digits.images[:, None].astype(np.uint8)
    free = [i for i, image in enumerate(images) if image.tobytes() not in held_back]
    train = images[free].astype(np.float32) / 16
    return (train, digits.target[free]), (x_test.astype(np.float32) / 16, y_test)


def shifted(rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
    """Return the images, each moved by -1, 0 or 1 pixel along both axes."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    moves = rng.integers(0, 3, (len(images), 2))
    return np.stack(
        [image[:, v : v + 8, h : h + 8] for image, (v, h) in zip(padded, moves, strict=True)]
    )


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of rows whose largest value is at the label."""
    return float((logits.argmax(axis=1) == labels).mean())


def main() -> None:
    """Run the example and print what came out."""
    parser = argparse.ArgumentParser(description="Train the digits network to 4 bits.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("build/export") / NAME)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=12)
    arguments = parser.parse_args()
    console, start = Console(), time.perf_counter()
    check_export(arguments.folder, name=NAME, overwrite=True)

    # 1. The float network, and the data.
    graph = aq.load_onnx(HERE / "digits.onnx")
    train, (images, labels) = samples()
    console.print(f"float                 {accuracy(aq.run(graph, images), labels):8.2%}")

    # 2. Quantizers: on every weight, and wherever the integer network stores a tensor.
    lsq.setup_quantizers(
        graph,
        arguments.bits,
        first_bits=8,
        last_bits=8,
        power_of_two=True,
        calibration=train[0][:256],
    )
    console.print(f"quantized             {accuracy(aq.run(graph, images), labels):8.2%}")

    # 3. Training, with the quantizers in the graph.
    fit(
        graph,
        train,
        epochs=arguments.epochs,
        batch_size=32,
        optimizer=SGD(0.01, weight_decay=1e-4),
        augment=shifted,
        seed=7,
        progress=True,
    )
    trained = aq.run(graph, images)
    console.print(f"trained               {accuracy(trained, labels):8.2%}")

    # 4. Integers: the same values, in the types of the C.
    lsq.post_training_transform(graph, True)
    network = aq.lower(graph)
    inputs = network.quantize_input(images)
    real = network.dequantize_output(network.run(inputs))
    same = bool(np.array_equal(real, trained))
    console.print(f"integers              {accuracy(real, labels):8.2%}  equal to trained: {same}")

    # 5. C, compiled with the compiler of this machine and compared on all held-back digits.
    aq.export_c(network, arguments.folder, name=NAME, test_inputs=inputs[:8], overwrite=True)
    check = aq.verify_c(arguments.folder, network, inputs)
    console.print(f"C in {arguments.folder}: {check.identical} of {check.total} outputs identical")
    console.print(f"{time.perf_counter() - start:.0f} s")
    sys.exit(0 if same and check.identical == check.total else 1)


if __name__ == "__main__":
    main()
