"""The digits example as files for the command line, and the commands that read them."""

import json

import numpy as np
import shared_data

from aidge_quant.cli import main

DIGITS = shared_data.CHECKOUT / "export_examples" / "digits"
MODEL = DIGITS / "digits.onnx"
#: For what any recipe shows.
FAST = ("--effort", "fast")


def write_samples(path):
    """Write 20 calibration and 20 test samples that have different labels; return the path."""
    with np.load(DIGITS / "digits.npz") as arrays:
        images = next(arrays[name] for name in arrays.files if arrays[name].ndim == 4)
    images = images[:40].astype(np.float32) / 16
    labels = np.arange(20)
    np.savez(path, x_calib=images[:20], y_calib=labels, x_test=images[20:], y_test=labels + 1)
    return path


def export(data, out, *options, recipe=FAST, model=MODEL, name="digits"):
    """Run ``aidge-quant export`` and return its status."""
    required = ["--calibration", str(data), "-o", str(out), "--name", name]
    return main(["export", str(model), *required, *recipe, *options])


def analyzed(capsys, data, *options, recipe=FAST, model=MODEL):
    """Run ``aidge-quant analyze`` and return its status and what it said."""
    status = main(["analyze", str(model), "--calibration", str(data), *recipe, *options])
    return status, capsys.readouterr()


def said_as_json(capsys):
    """Return what a command printed with --json."""
    return json.loads(capsys.readouterr().out)
