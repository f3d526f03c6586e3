"""``aidge-quant analyze``: where a quantized model loses precision, layer by layer."""

import dataclasses
import json
from argparse import Namespace
from pathlib import Path

from rich.console import Console

from aidge_quant.commands.data import CALIBRATION_KEYS, TEST_KEYS, load_samples
from aidge_quant.commands.progress import Steps
from aidge_quant.commands.quantize import ladder_rows, quantize_model
from aidge_quant.commands.settings import chosen_settings
from aidge_quant.report import analyze


def analyze_command(arguments: Namespace, console: Console) -> int:
    """Carry out ``aidge-quant analyze`` and return the exit status 0."""
    settings = chosen_settings(arguments)
    samples = load_samples(arguments.calibration, CALIBRATION_KEYS, arguments.key)
    calibration = test = samples.first(arguments.samples).values
    if arguments.test is not None:
        test = load_samples(
            arguments.test, TEST_KEYS, arguments.test_key, option="--test-key"
        ).values
    with Steps(console, live=not arguments.verbose) as steps:
        found = quantize_model(
            arguments.model,
            calibration,
            settings,
            steps,
            input_shapes=dict(arguments.input_dim),
            verbose=arguments.verbose,
        )
        steps.begin(f"running {len(test)} samples in float and on integers")
        analysis = analyze(
            found.graph, found.quantized, test, calibration=calibration, progress=steps.tell
        )
    analysis = dataclasses.replace(analysis, network=Path(arguments.model).stem)
    if arguments.json:
        rows = {"ladder": ladder_rows(found.ladder)}
        console.print_json(json.dumps(analysis.to_dict() | rows))
        return 0
    if arguments.verbose and found.ladder is not None:
        console.print(str(found.ladder), highlight=False, soft_wrap=True)
    console.print(str(analysis), highlight=False, markup=False, soft_wrap=True)
    return 0
