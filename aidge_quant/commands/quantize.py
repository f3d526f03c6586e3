"""From a model file and calibration data to a quantized graph and an integer network."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from aidge_quant._version import __version__
from aidge_quant.commands.data import sha256
from aidge_quant.commands.progress import Steps
from aidge_quant.commands.settings import Settings
from aidge_quant.errors import UnsupportedError
from aidge_quant.graph import GraphView
from aidge_quant.integer.lowering.lower import lower
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.interchange.from_qop import from_qop
from aidge_quant.interchange.set_to import is_quantized_onnx
from aidge_quant.onnx_io import load_onnx
from aidge_quant.ops import Softmax
from aidge_quant.tuning import QuantizationResult

#: Said of a model in QDQ or QOperator form.
QUANTIZED_ALREADY = (
    "the model is quantized already: its integers are taken as they are, whatever the recipe"
)


@dataclass(frozen=True, eq=False)
class Quantized:
    """What ``quantize_model`` returns.

    Attributes
    ----------
    graph : GraphView
        The float network, as read.
    quantized : GraphView
        The same quantized, not lowered yet.
    result : QuantizationResult or None
        How our own recipe found it.
    notices : tuple of str
        What the user should know about the network.
    """

    graph: GraphView
    quantized: GraphView
    result: QuantizationResult | None
    notices: tuple[str, ...]


def quantize_model(
    model: str | Path,
    samples: np.ndarray,
    settings: Settings,
    steps: Steps,
    *,
    input_shapes: dict[str, tuple[int, ...]] | None = None,
    verbose: bool = False,
) -> Quantized:
    """Read a model and quantize it: the same graph for equal arguments, whatever the command.

    A model in QDQ or QOperator form is quantized already and only read.

    Parameters
    ----------
    model : path of the ONNX file
    samples : array (batch, *shape)
        Calibration samples, as the float network is fed with them.
    settings : Settings
    steps : Steps
        Shows what is going on.
    input_shapes : dict, optional
        Sizes of inputs whose dimensions the file leaves open.
    verbose : bool
        Log details.

    Raises
    ------
    UnsupportedError
        If the model has several inputs, or nodes that cannot be quantized.
    """
    steps.begin("reading the model")
    graph = load_onnx(model, input_shapes=input_shapes)
    if len(graph.inputs) != 1:
        names = ", ".join(node.name for node in graph.inputs)
        raise UnsupportedError(
            f"{model} has {len(graph.inputs)} inputs ({names}), the command line takes one; "
            "use it from Python, where samples are dictionaries by input name"
        )
    if is_quantized_onnx(graph):
        steps.begin("reading its integers")
        imported = graph.clone()
        from_qop(imported)
        return Quantized(graph, imported, None, (QUANTIZED_ALREADY,))
    steps.begin(f"quantizing on {len(samples)} samples")
    quantized, result = settings.quantized(graph, samples, steps.tell, verbose)
    notices = tuple(
        f"the final {output.port.node.name} (Softmax) is left out: {output.name} holds its logits"
        for output in graph.outputs
        if isinstance(output.port.node.operator, Softmax)
    )
    return Quantized(graph, quantized, result, notices)


def lower_model(
    found: Quantized, *, name: str, model: str | Path, calibration: str | Path, samples: int
) -> IntegerNetwork:
    """Return the integer network of a quantized model, with its provenance.

    Parameters
    ----------
    found : Quantized
    name : str
        Name of the network.
    model, calibration : paths
        The files that it comes from; their digests go into the metadata.
    samples : int
        How many calibration samples were used.
    """
    network = lower(found.quantized)
    metadata = {
        **network.metadata,
        "producer": f"aidge_quant {__version__}",
        "model_sha256": sha256(model),
        "calibration_sha256": sha256(calibration),
        "calibration_samples": str(samples),
    }
    if found.notices:
        metadata["notices"] = "; ".join(found.notices)
    return replace(network, name=name, metadata=metadata)


def story(found: Quantized) -> dict[str, Any]:
    """Return how the network was found, for JSON: no steps and no proposal without a recipe.

    A level that stands for "beyond the budget", minus infinity, becomes None.
    """
    ladder, proposal = [], None
    if found.result is not None:
        ladder = [asdict(rung) for rung in found.result.ladder]
        for row in ladder:
            row |= {key: _finite(row[key]) for key in ("before", "after")}
        if found.result.proposal is not None:
            proposal = asdict(found.result.proposal)
    return {"ladder": ladder, "proposal": proposal}


def story_lines(found: Quantized, *, verbose: bool) -> list[str]:
    """Return the same as lines: the steps on request, the proposal wherever a budget was given."""
    if found.result is None:
        return []
    parts = [found.result.ladder] if verbose else []
    return [str(part) for part in (*parts, found.result.proposal) if part is not None]


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
