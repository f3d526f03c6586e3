"""From a model file and calibration data to an integer network."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from aidge_quant._version import __version__
from aidge_quant.commands.data import sha256
from aidge_quant.dtypes import dtype
from aidge_quant.errors import UnsupportedError
from aidge_quant.graph import GraphView
from aidge_quant.integer.lowering.lower import lower
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.onnx_io import load_onnx
from aidge_quant.ops import Softmax
from aidge_quant.ptq import Clipping, auto_assign_node_precision, quantize_network


@dataclass(frozen=True)
class Settings:
    """Options of the published pipeline, as the command line gives them.

    Attributes
    ----------
    clipping : str
        Name of a ``Clipping`` mode, in lower case.
    input_range : float or None
        Largest magnitude at the input; None measures it (see ``quantize_network``).
    """

    clipping: str = "max"
    equalize: bool = True
    channel_wise: bool = False
    optimize_signs: bool = False
    single_shift: bool = True
    input_range: float | None = None


@dataclass(frozen=True, eq=False)
class Quantized:
    """What ``quantize_model`` returns.

    Attributes
    ----------
    graph : GraphView
        The float network, as read.
    network : IntegerNetwork
    notices : tuple of str
        What the user should know about the network.
    """

    graph: GraphView
    network: IntegerNetwork
    notices: tuple[str, ...]


def quantize_model(
    model: str | Path,
    samples: np.ndarray,
    settings: Settings,
    *,
    name: str,
    calibration_file: str | Path,
    input_shapes: dict[str, tuple[int, ...]] | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> Quantized:
    """Read, quantize and lower a model.

    Parameters
    ----------
    model : path of the ONNX file
    samples : array (batch, *shape)
        Calibration samples, as the float network is fed with them.
    settings : Settings
    name : str
        Name of the network.
    calibration_file : path
        Where the samples came from; its digest goes into the network's metadata.
    input_shapes : dict, optional
        Sizes of inputs whose dimensions the file leaves open.
    report : callable
        Told the name of each step when it begins.
    """
    report("reading the model")
    graph = load_onnx(model, input_shapes=input_shapes)
    if len(graph.inputs) != 1:
        names = ", ".join(node.name for node in graph.inputs)
        raise UnsupportedError(
            f"{model} has {len(graph.inputs)} inputs ({names}), the command line takes one; "
            "quantize it from Python, where samples are dictionaries by input name"
        )
    report("quantizing")
    quantized = graph.clone()
    auto_assign_node_precision(quantized, dtype.int8, dtype.int8, dtype.int32)
    quantize_network(
        quantized,
        [sample[None] for sample in samples],
        clipping_mode=Clipping[settings.clipping.upper()],
        equalize=settings.equalize,
        channel_wise=settings.channel_wise,
        optimize_signs=settings.optimize_signs,
        single_shift=settings.single_shift,
        input_range=settings.input_range,
    )
    report("lowering to integers")
    network = lower(quantized)
    options = ", ".join(f"{key}={value}" for key, value in vars(settings).items())
    metadata = {
        **network.metadata,
        "producer": f"aidge_quant {__version__}",
        "options": options,
        "model_sha256": sha256(model),
        "calibration_sha256": sha256(calibration_file),
        "calibration_samples": str(len(samples)),
    }
    notices = tuple(
        f"the final {output.port.node.name} (Softmax) is left out: {output.name} holds its logits"
        for output in graph.outputs
        if isinstance(output.port.node.operator, Softmax)
    )
    if notices:
        metadata["notices"] = "; ".join(notices)
    return Quantized(graph, replace(network, name=name, metadata=metadata), notices)
