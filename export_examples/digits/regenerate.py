"""Write the committed C of the example anew, from its committed integer network.

``digits.aqn`` is the integer network that ``export.py`` makes; ``c/`` is its export. A change of
the exporter shows as a difference of C in review. ``--quantize`` makes ``digits.aqn`` anew first.
"""

import argparse
from pathlib import Path

import numpy as np

import aidge_quant as aq

HERE = Path(__file__).resolve().parent
SELF_TEST_CASES = 8


def quantize() -> aq.IntegerNetwork:
    """Return the integer network of the example, as ``export.py`` makes it."""
    return aq.quantize(HERE / "digits.onnx", calibration()).network


def calibration() -> np.ndarray:
    """Return the calibration images: float32 (64, 1, 8, 8) in [0, 1]."""
    with np.load(HERE / "digits.npz") as data:
        return data["x_calib"].astype(np.float32) / 16  # pixels are 0 to 16


def write(network: aq.IntegerNetwork, folder: Path) -> None:
    """Export ``network`` to ``folder``, with calibration images in its self-test."""
    q = network.quantize_input(calibration()[:SELF_TEST_CASES])
    aq.export_c(network, folder, name="digits", test_inputs=q, overwrite=True)


def main() -> None:
    """Write ``c/``, and with ``--quantize`` also ``digits.aqn``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quantize", action="store_true", help="make digits.aqn anew first")
    if parser.parse_args().quantize:
        quantize().save(HERE / "digits.aqn")
    write(aq.load_network(HERE / "digits.aqn"), HERE / "c")


if __name__ == "__main__":
    main()
