"""``aidge-quant analyze``: where a quantized model loses precision, layer by layer."""

import dataclasses
import json
from argparse import Namespace
from pathlib import Path

from rich.console import Console

from aidge_quant.commands.data import CALIBRATION_KEYS, TEST_KEYS, load_samples
from aidge_quant.commands.progress import Steps
from aidge_quant.commands.quantize import quantize_model, story, story_lines
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
        console.print_json(json.dumps(analysis.to_dict() | story(found)))
        return 0
    lines = [*story_lines(found, verbose=arguments.verbose), str(analysis)]
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
    return 0
