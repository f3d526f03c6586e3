"""``aidge-quant analyze``: where a quantized model loses precision, layer by layer."""

import dataclasses
import json
from argparse import Namespace
from pathlib import Path

import numpy as np
from rich.console import Console

from aidge_quant.commands.data import CALIBRATION_KEYS, TEST_KEYS, load_samples
from aidge_quant.commands.progress import Steps
from aidge_quant.commands.quantize import Settings
from aidge_quant.dtypes import dtype
from aidge_quant.errors import UnsupportedError
from aidge_quant.graph import GraphView
from aidge_quant.onnx_io import load_onnx
from aidge_quant.ptq import Clipping, auto_assign_node_precision, quantize_network
from aidge_quant.report import analyze


def analyze_command(arguments: Namespace, console: Console) -> int:
    """Carry out ``aidge-quant analyze`` and return the exit status 0."""
    samples = load_samples(arguments.calibration, CALIBRATION_KEYS, arguments.key)
    calibration = test = samples.first(arguments.samples).values
    if arguments.test is not None:
        test = load_samples(arguments.test, TEST_KEYS, arguments.test_key).values
    names = (field.name for field in dataclasses.fields(Settings))
    settings = Settings(**{name: getattr(arguments, name) for name in names})
    with Steps(console) as steps:
        steps.begin("reading the model")
        graph = load_onnx(arguments.model, input_shapes=dict(arguments.input_dim))
        if len(graph.inputs) != 1:
            raise UnsupportedError(
                f"{arguments.model} has {len(graph.inputs)} inputs, the command line takes one; "
                "call aidge_quant.analyze from Python with dictionaries by input name"
            )
        steps.begin("quantizing")
        quantized = quantized_graph(graph, calibration, settings)
        steps.begin(f"comparing every layer on {len(test)} samples")
        analysis = analyze(graph, quantized, test, calibration=calibration)
    analysis = dataclasses.replace(analysis, network=Path(arguments.model).stem)
    if arguments.json:
        console.print_json(json.dumps(analysis.to_dict()))
    else:
        console.print(str(analysis), highlight=False, markup=False, soft_wrap=True)
    return 0


def quantized_graph(graph: GraphView, calibration: np.ndarray, settings: Settings) -> GraphView:
    """Return a quantized copy of a float graph: the one that ``quantize_model`` lowers.

    Parameters
    ----------
    graph : GraphView
    calibration : array (batch, *shape)
        As the float network is fed.
    settings : Settings
    """
    quantized = graph.clone()
    auto_assign_node_precision(quantized, dtype.int8, dtype.int8, dtype.int32)
    options = dataclasses.asdict(settings)
    clipping = Clipping[options.pop("clipping").upper()]
    quantize_network(quantized, [calibration], clipping_mode=clipping, **options)
    return quantized
