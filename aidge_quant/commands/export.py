"""``aidge-quant export``: the whole way from an ONNX file to a verified C folder."""

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
from rich.console import Console

from aidge_quant.commands.data import CALIBRATION_KEYS, TEST_KEYS, Samples, load_samples
from aidge_quant.commands.progress import Steps
from aidge_quant.commands.quantize import Quantized, Settings, quantize_model
from aidge_quant.executor import run
from aidge_quant.export import Verification, check_export, export_c, read_metadata, verify_c
from aidge_quant.export.build import find_compiler

#: How many samples the exported self-test carries.
SELF_TEST_SAMPLES = 8


def export_command(arguments: Namespace, console: Console) -> int:
    """Carry out ``aidge-quant export`` and return the exit status: 0, or 1 if C differs."""
    check_export(arguments.output, name=arguments.name, overwrite=arguments.overwrite)
    if arguments.verify:
        find_compiler(None)  # before the work: without one, --no-verify is the way
    own = arguments.labels if arguments.test is None else None
    samples = load_samples(arguments.calibration, CALIBRATION_KEYS, arguments.key, own)
    samples = test = samples.first(arguments.samples)
    if arguments.test is not None:
        test = load_samples(arguments.test, TEST_KEYS, arguments.test_key, arguments.labels)
    settings = Settings(
        clipping=arguments.clipping,
        equalize=arguments.equalize,
        channel_wise=arguments.channel_wise,
        optimize_signs=arguments.optimize_signs,
        single_shift=arguments.single_shift,
        input_range=arguments.input_range,
    )
    with Steps(console) as steps:
        quantized = quantize_model(
            arguments.model,
            samples.values,
            settings,
            name=arguments.name,
            calibration_file=arguments.calibration,
            input_shapes=dict(arguments.input_dim),
            report=steps.begin,
        )
        network = quantized.network
        steps.begin("writing the C")
        q = np.asarray(network.quantize_input(test.values))
        folder = export_c(
            network,
            arguments.output,
            name=arguments.name,
            test_inputs=q[:SELF_TEST_SAMPLES],
            overwrite=arguments.overwrite,
        )
        check = None
        if arguments.verify:
            steps.begin(f"compiling, and running {len(q)} samples through Python and C")
            check = verify_c(folder, network, q)
        steps.begin("comparing with the float network")
        figures = _figures(quantized, test, q)
    _print_summary(console, arguments, Path(folder), figures, check, quantized.notices)
    return 0 if check is None or check.identical == check.total else 1


def _figures(quantized: Quantized, test: Samples, q: np.ndarray) -> dict[str, float]:
    """Return accuracy (with labels), agreement of the largest output, and SQNR in dB."""
    network = quantized.network
    if len(network.outputs) != 1:
        return {}
    real = network.dequantize_output(network.run(q))
    expected = run(quantized.graph, test.values)
    assert isinstance(real, np.ndarray)
    assert isinstance(expected, np.ndarray)
    flat, wanted = real.reshape(len(real), -1), expected.reshape(len(expected), -1)
    figures = {"samples": float(len(flat))}
    if flat.shape[1] > 1:
        figures["agreement"] = float((flat.argmax(1) == wanted.argmax(1)).mean())
        if test.labels is not None:
            figures["float_accuracy"] = float((wanted.argmax(1) == test.labels).mean())
            figures["integer_accuracy"] = float((flat.argmax(1) == test.labels).mean())
    if quantized.graph.outputs[0].port.node.type != "Softmax":  # the network ends before it
        noise = float(np.square(flat - wanted).sum())
        signal = float(np.square(wanted.astype(np.float64)).sum())
        if noise > 0 and signal > 0:
            figures["sqnr_db"] = 10 * float(np.log10(signal / noise))
    return figures


def _print_summary(
    console: Console,
    arguments: Namespace,
    folder: Path,
    figures: dict[str, float],
    check: Verification | None,
    notices: tuple[str, ...],
) -> None:
    sizes = read_metadata(folder)["sizes"]
    if arguments.json:
        verification = None
        if check is not None:
            verification = {"identical": check.identical, "total": check.total}
        found = {
            "folder": str(folder),
            "figures": figures,
            "sizes": sizes,
            "verification": verification,
            "notices": list(notices),
        }
        console.print_json(json.dumps(found))
        return
    for key, label in (("float_accuracy", "float"), ("integer_accuracy", "integer")):
        if key in figures:
            console.print(f"{label} accuracy: {100 * figures[key]:.2f} %", highlight=False)
    if "agreement" in figures:
        console.print(f"agreement with float: {100 * figures['agreement']:.2f} %", highlight=False)
    if "sqnr_db" in figures:
        console.print(f"SQNR: {figures['sqnr_db']:.1f} dB", highlight=False)
    if check is not None:
        console.print(f"identical: {check.identical} of {check.total}", highlight=False)
        if check.first_mismatch is not None:
            console.print(f"first difference: {check.first_mismatch}", highlight=False)
    console.print(
        f"flash (parameters): {sizes['parameters']} bytes, RAM (arena): {sizes['arena']} bytes",
        highlight=False,
    )
    for notice in notices:
        console.print(f"note: {notice}", highlight=False, soft_wrap=True)
    console.print(f"folder: {folder}", highlight=False, soft_wrap=True)
