"""``aidge-quant export``: the whole way from an ONNX file to a verified C folder."""

import dataclasses
import json
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from aidge_quant.commands.data import CALIBRATION_KEYS, TEST_KEYS, Samples, load_samples
from aidge_quant.commands.progress import Steps
from aidge_quant.commands.quantize import (
    Quantized,
    lower_model,
    quantize_model,
    story,
    story_lines,
)
from aidge_quant.commands.settings import TunedSettings, chosen_settings
from aidge_quant.errors import ExportError
from aidge_quant.executor import run
from aidge_quant.export import Verification, check_export, export_c, read_metadata, run_c
from aidge_quant.export.build import find_compiler
from aidge_quant.export.regions import check_regions
from aidge_quant.export.verify import compare
from aidge_quant.graph import GraphView
from aidge_quant.integer.network import Arrays, IntegerNetwork
from aidge_quant.interchange.set_to import is_quantized_onnx
from aidge_quant.ptq import prepare_network

#: How many samples the exported self-test carries.
SELF_TEST_SAMPLES = 8


def export_command(arguments: Namespace, console: Console) -> int:
    """Carry out ``aidge-quant export`` and return the exit status: 0, or 1 if C differs."""
    settings = chosen_settings(arguments)
    if arguments.ram and isinstance(settings, TunedSettings):
        # The least memory is wanted: nothing is widened into the budget, which remains a limit.
        settings = dataclasses.replace(settings, ram_budget=None)
    check_export(arguments.output, name=arguments.name, overwrite=arguments.overwrite)
    regions = _regions(arguments.region)
    if arguments.verify:
        find_compiler(None)  # before the work: without one, --no-verify is the way
    own = arguments.labels if arguments.test is None else None
    samples = load_samples(arguments.calibration, CALIBRATION_KEYS, arguments.key, own)
    samples = test = samples.first(arguments.samples)
    if arguments.test is not None:
        test = load_samples(
            arguments.test, TEST_KEYS, arguments.test_key, arguments.labels, option="--test-key"
        )
    with Steps(console, live=not arguments.verbose) as steps:
        quantized = quantize_model(
            arguments.model,
            samples.values,
            settings,
            steps,
            input_shapes=dict(arguments.input_dim),
            verbose=arguments.verbose,
        )
        steps.begin("lowering to integers")
        network = lower_model(
            quantized,
            name=arguments.name,
            model=arguments.model,
            calibration=arguments.calibration,
            samples=len(samples.values),
        )
        steps.begin(f"running {len(test.values)} samples in float and on integers")
        q = np.asarray(network.quantize_input(test.values))
        out = network.run(q)
        figures = _figures(quantized.graph, test, network, out)
        cases = q[:SELF_TEST_SAMPLES]
        choices = {
            "target": arguments.target,
            "input_in_arena": arguments.input_in_arena or arguments.ram,
            "stripes": arguments.ram,
            "regions": regions,
            "flash_budget": arguments.flash_budget,
            "ram_budget": arguments.ram_budget,
        }
        check = None
        if arguments.verify:
            steps.begin(f"compiling the C, {len(q)} samples through it")
            check = _verified(network, arguments.name, cases, q, out, choices)
        steps.begin("writing the C")
        folder = export_c(
            network,
            arguments.output,
            name=arguments.name,
            test_inputs=cases,
            overwrite=arguments.overwrite,
            **choices,
        )
    if arguments.json:
        _print_json(console, folder, figures, check, quantized)
    else:
        kind = "calibration" if arguments.test is None else "test"
        lines = story_lines(quantized, verbose=arguments.verbose)
        lines += _lines(kind, figures, folder, check, quantized)
        console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
    return 0 if check is None or check.identical == check.total else 1


def _regions(named: list[tuple[str, int]]) -> dict[str, int]:
    """Return the memory regions of the command line, checked before the work begins."""
    regions = dict(named)
    if len(regions) < len(named):
        names = ", ".join(name for name, _ in named)
        raise ExportError(f"--region: expected every name once, came {names}")
    check_regions(regions)
    return regions


def _verified(
    network: IntegerNetwork,
    name: str,
    cases: np.ndarray,
    q: np.ndarray,
    out: Arrays,
    choices: dict[str, Any],
) -> Verification:
    """Compare a trial export with Python, so that a failure leaves nothing where users look."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = export_c(network, Path(scratch) / name, name=name, test_inputs=cases, **choices)
        return compare(network, out, run_c(folder, network, q))


def _figures(
    graph: GraphView, test: Samples, network: IntegerNetwork, out: Arrays
) -> dict[str, float]:
    """Return accuracy (with labels), agreement of the largest output, and SQNR in dB."""
    if len(network.outputs) != 1:
        return {"samples": len(test.values)}
    prepared = graph.clone()
    if not is_quantized_onnx(graph):
        prepare_network(prepared)  # without a final Softmax, as the integer network
    expected, real = run(prepared, test.values), network.dequantize_output(out)
    assert isinstance(real, np.ndarray)
    assert isinstance(expected, np.ndarray)
    flat, wanted = real.reshape(len(real), -1), expected.reshape(len(expected), -1)
    figures: dict[str, float] = {"samples": len(flat)}
    if flat.shape[1] > 1:
        figures["agreement"] = float((flat.argmax(1) == wanted.argmax(1)).mean())
        if test.labels is not None:
            figures["float_accuracy"] = float((wanted.argmax(1) == test.labels).mean())
            figures["integer_accuracy"] = float((flat.argmax(1) == test.labels).mean())
    noise = float(np.square(flat - wanted).sum())
    signal = float(np.square(wanted.astype(np.float64)).sum())
    if noise > 0 and signal > 0:
        figures["sqnr_db"] = 10 * float(np.log10(signal / noise))
    return figures


def _print_json(
    console: Console,
    folder: Path,
    figures: dict[str, float],
    check: Verification | None,
    quantized: Quantized,
) -> None:
    metadata = read_metadata(folder)
    found = {
        "folder": str(folder),
        "figures": figures,
        "sizes": metadata["sizes"],
        "verification": check and {"identical": check.identical, "total": check.total},
        "notices": list(quantized.notices),
        "provenance": metadata["provenance"],
        **story(quantized),
    }
    console.print_json(json.dumps(found))


def _lines(
    kind: str,
    figures: dict[str, float],
    folder: Path,
    check: Verification | None,
    quantized: Quantized,
) -> list[str]:
    """Return what a reader is told; ``kind`` says what the samples are."""
    lines = [f"on {figures['samples']} {kind} samples:"]
    for key, label in (
        ("float_accuracy", "float accuracy"),
        ("integer_accuracy", "integer accuracy"),
        ("agreement", "agreement with float"),
    ):
        if key in figures:
            lines.append(f"{label}: {100 * figures[key]:.2f} %")
    if "sqnr_db" in figures:
        lines.append(f"SQNR: {figures['sqnr_db']:.1f} dB")
    if check is not None:
        lines.append(f"identical: {check.identical} of {check.total}")
        if check.first_mismatch is not None:
            lines.append(f"first difference: {check.first_mismatch}")
    sizes = read_metadata(folder)["sizes"]
    lines.append(
        f"flash (parameters): {sizes['parameters']} bytes, RAM (arena): {sizes['arena']} bytes"
    )
    lines += [f"note: {notice}" for notice in quantized.notices]
    return [*lines, f"folder: {folder}"]
