"""What the templates get: ready names, expressions, sizes, flags and tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from aidge_quant._version import __version__
from aidge_quant.export import ctext
from aidge_quant.export.calls import add_layers
from aidge_quant.export.dsp.printed import dots, kinds
from aidge_quant.export.mve import windows as mve
from aidge_quant.export.program import Ends, Program, shape_text, type_of
from aidge_quant.export.regions import check_regions, describe_regions
from aidge_quant.export.striping import with_stripes
from aidge_quant.export.target import GENERIC, check_target, plan_for
from aidge_quant.integer.counts import layer_macs
from aidge_quant.integer.network import CONTRACT_VERSION, IntegerNetwork
from aidge_quant.integer.tensors import IntegerTensor
from aidge_quant.memory.plan import Plan
from aidge_quant.memory.views import nbytes

#: Kernel templates in the order of printing.
KERNELS = (
    "mve/conv",
    "mve/depthwise_conv",
    "mve/add",
    "mve/rescale",
    "mve/avg_pool",
    "dsp/conv",
    "dsp/depthwise_conv",
    "dsp/add",
    "dsp/rescale",
    "conv",
    "depthwise_conv",
    "conv_transpose",
    "fc",
    "add",
    "mul",
    "rescale",
    "avg_pool",
    "max_pool",
    "clamp",
    "lookup",
    "copy",
    "fill",
    "move",
    "resize",
    "argmax",
)

#: Forms of the requantization in the order of printing.
REQUANTIZATIONS = (
    "requantize",
    "requantize_any",
    "requantize_even",
    "requantize_scale",
    "requantize_scale_even",
)

_WINDOWS = {"conv", "depthwise_conv", "avg_pool", "max_pool"}


@dataclass(frozen=True)
class End:
    """One input or output of the network, as the header describes it.

    Attributes
    ----------
    parameter : str
        Parameter of the run function: ``input``, ``output``, or with the model's name.
    macro : str
        Prefix of its macros: ``KWS_INPUT``.
    type : str
        C type of an element.
    title : str
        The model's name of it, safe in a comment.
    order : str
        Order of the values, for a comment.
    size : int
    nbytes : int
    shape : str
        Initializer list of the stored shape.
    scales : tuple of str
        Double constants: one, or one a channel.
    zero_point : str
        Literal.
    minimum, maximum : int
        Of the type.
    """

    parameter: str
    macro: str
    type: str
    title: str
    order: str
    size: int
    nbytes: int
    shape: str
    scales: tuple[str, ...]
    zero_point: str
    minimum: int
    maximum: int


@dataclass(frozen=True)
class Export:
    """All that is printed about a network, without the golden cases.

    Attributes
    ----------
    network : IntegerNetwork
        As it was given; that of the program may compute some layers in stripes.
    program : Program
    plan : Plan
    target : str
    context : dict
        The names that the templates see.
    summary : dict
        Sizes, ends and layers for metadata.json.
    """

    network: IntegerNetwork
    program: Program
    plan: Plan
    target: str
    context: dict[str, Any]
    summary: dict[str, Any]


def describe_ends(network: IntegerNetwork, name: str) -> tuple[list[End], list[End]]:
    """Return the inputs and the outputs of ``network`` under the C prefix ``name``."""
    inputs = _ends(network, network.inputs, network.input_names, name, "input")
    return inputs, _ends(network, network.outputs, network.output_names, name, "output")


def build_export(
    network: IntegerNetwork,
    name: str,
    target: str = GENERIC,
    *,
    input_in_arena: bool = False,
    stripes: bool = False,
    regions: Mapping[str, int] | None = None,
    ram_budget: int | None = None,
) -> Export:
    """Return what is printed about ``network`` under the C prefix ``name`` for a target.

    Raises
    ------
    ExportError
        If there is no such target, or naming every layer that cannot be written as C.
    """
    check_target(target)
    check_regions(regions or {})
    given = network
    if stripes:
        network = with_stripes(network, target, input_in_arena=input_in_arena, budget=ram_budget)
    choices, plan = plan_for(network, target, input_in_arena=input_in_arena, regions=regions)
    inputs, outputs = describe_ends(network, name)
    ends = Ends(tuple(e.parameter for e in inputs), tuple(e.parameter for e in outputs))
    program = Program(network, plan, name, ends)
    add_layers(program, choices)

    kernels = sorted(program.kernels.values(), key=lambda k: KERNELS.index(k.template))
    groups = [
        {"template": template, "variants": [{**k.fields, "function": k.function} for k in group]}
        for template, group in groupby(kernels, key=lambda kernel: kernel.template)
    ]
    variants = [variant for group in groups for variant in group["variants"]]
    templates = {group["template"] for group in groups}
    scaled = [v for v in variants if "requantize" in v and not v["raw"]]
    # A right shift to the whole range of int8 is one instruction where there is one.
    forms = {v["requantize"] for v in scaled if not v.get("saturate", "")}
    fast = [v for group in groups if group["template"] == "dsp/conv" for v in group["variants"]]
    table = _layer_table(program)
    flash = sum(constant.nbytes for constant in program.constants)
    context: dict[str, Any] = {
        "name": name,
        "NAME": name.upper(),
        "title": ctext.comment(network.name, 48),
        "version": __version__,
        "contract": CONTRACT_VERSION,
        "digest": given.digest,
        "inputs": inputs,
        "outputs": outputs,
        "parameters": [*inputs, *outputs],
        "arena_size": plan.arena_size,
        "arena_uses_16": bool(choices)
        or any(
            plan.places[t.name].kind == "arena" and t.dtype.numpy.itemsize == 2
            for t in network.tensors
        ),
        "regions": describe_regions(name, plan.regions),
        "arrivals": [
            {"end": inputs[a.index], "place": a.place, "call": a.call} for a in program.arrivals
        ],
        "net_unused": not program.arrivals
        and not any("net->" in a for s in program.steps for c in s.calls for a in c.arguments),
        "records": program.all_records(),
        "constants": program.constants,
        "flash": flash,
        "steps": program.steps,
        "kernels": groups,
        "rank": program.rank,
        "divides": any(v.get("divide", False) for v in variants),
        "requantizations": [form for form in REQUANTIZATIONS if form in forms],
        "scaling": {
            "tensor": any(not v["per_channel"] for v in scaled),
            "channel": any(v["per_channel"] for v in scaled),
            "multiplier": any(v["multiplier"] for v in scaled),
        },
        "helpers": {
            "clip": bool(forms & {"requantize", "requantize_any", "requantize_even"})
            or bool(templates & {"clamp", "dsp/depthwise_conv"})
            or any(template.startswith("mve/") for template in templates)
            or any(v.get("divide", False) for v in variants),
            "window": bool(templates & _WINDOWS) or any(v.get("gathered", False) for v in variants),
            "int4": any(v.get("packed", False) for v in variants),
        },
        "dsp": {
            "words": any(template.startswith("dsp/") for template in templates),
            "dots": dots(fast),
            "kinds": kinds(fast),
            "saturates_16": any(v.get("saturate", "") in ("ssat16", "usat15") for v in variants),
            "four": any(v["four"] for v in fast),
            "lean": any(v["four"] and v["lean"] for v in fast),
        },
        "mve": {
            "used": any(template.startswith("mve/") for template in templates),
            "unroll": mve.UNROLL,
            **{
                flag: any(
                    v[flag] for g in groups if g["template"] == "mve/conv" for v in g["variants"]
                )
                for flag in ("gathered", "pairs")
            },
        },
        "table": table,
        "macs": sum(row["macs"] for row in table),
        "layer_count": len(network.layers),
        "uses": _uses(program, templates, bool(scaled)),
    }
    summary = {
        "sizes": {
            "parameters": flash,
            "arena": plan.arena_size,
            "regions": dict(plan.regions),
            "ram": plan.arena_size
            + sum(plan.regions.values())
            + _kept_bytes(network, input_in_arena),
            "macs": context["macs"],
        },
        "layers": table,
        "inputs": [_end_summary(end) for end in inputs],
        "outputs": [_end_summary(end) for end in outputs],
    }
    return Export(given, program, plan, target, context, summary)


def _kept_bytes(network: IntegerNetwork, input_in_arena: bool) -> int:
    """Return the bytes of the inputs and outputs that the caller keeps outside the arena."""
    names = network.outputs + (() if input_in_arena else network.inputs)
    return sum(nbytes(name, network) for name in names)


def golden_context(
    network: IntegerNetwork,
    name: str,
    inputs: Mapping[str, np.ndarray],
    outputs: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    """Return what the self-test's templates get besides: the cases, stored as the C reads them.

    Parameters
    ----------
    inputs, outputs : mapping of the model's name to integer array (cases, *ONNX shape)
    """
    described_inputs, described_outputs = describe_ends(network, name)
    arrays = []
    for described, tensors, names, cases in (
        (described_inputs, network.inputs, network.input_names, inputs),
        (described_outputs, network.outputs, network.output_names, outputs),
    ):
        for end, tensor, model_name in zip(described, tensors, names, strict=True):
            stored = network.tensor(tensor).from_onnx(np.asarray(cases[model_name]))
            arrays.append({"end": end, "data": np.ravel(stored), "count": stored.size})
    count = len(described_inputs)
    cases = next(iter(inputs.values())).shape[0]
    return {
        "golden_cases": cases,
        "golden_inputs": arrays[:count],
        "golden_outputs": arrays[count:],
    }


def _ends(
    network: IntegerNetwork,
    tensors: tuple[str, ...],
    names: tuple[str, ...],
    name: str,
    role: str,
) -> list[End]:
    idents = ctext.unique_identifiers(names)
    ends = []
    for tensor_name, model_name, ident in zip(tensors, names, idents, strict=True):
        tensor = network.tensor(tensor_name)
        single = len(tensors) == 1
        parameter = role if single else f"{role}_{ident}"
        ends.append(
            End(
                parameter=parameter,
                macro=f"{name}_{parameter}".upper(),
                type=type_of(tensor),
                title=ctext.comment(model_name, 48),
                order=_order(tensor),
                size=tensor.size,
                nbytes=tensor.size * tensor.dtype.numpy.itemsize,
                shape=ctext.c_list(map(str, tensor.shape)),
                scales=tuple(ctext.c_double(s) for s in np.ravel(np.asarray(tensor.scale))),
                zero_point=_parenthesized(tensor.zero_point),
                minimum=tensor.dtype.min,
                maximum=tensor.dtype.max,
            )
        )
    return ends


def _parenthesized(value: int) -> str:
    """Return a literal that is safe in any expression."""
    return f"({value})" if value < 0 else str(value)


def _order(tensor: IntegerTensor) -> str:
    """Return how the stored values follow each other: ``32 x 32 x 3, height, width, channels``."""
    sizes = shape_text(tensor.shape)
    if tensor.layout == (1, 2, 0):
        return f"{sizes}: height, width, channels"
    if tensor.layout == (1, 0):
        return f"{sizes}: 1, length, channels"
    if list(tensor.layout) == sorted(tensor.layout):
        return f"{sizes}, in the model's order"
    return f"{sizes}: axes {', '.join(map(str, tensor.layout))} of the model"


def _layer_table(program: Program) -> list[dict[str, Any]]:
    """Return a row a layer: name, kind, output, MACs, bytes of parameters, bytes written."""
    rows = []
    for layer, step in zip(program.network.layers, program.steps, strict=False):
        output = program.network.tensor(layer.output)
        rows.append(
            {
                "name": ctext.comment(layer.name, 48),
                "kind": layer.kind,
                "output": f"{shape_text(output.shape)} {output.dtype.value}",
                "macs": layer_macs(program.network, layer),
                "flash": step.flash,
                "place": _place_text(program, layer.output) if step.calls else "as its input",
            }
        )
    return rows


def _place_text(program: Program, tensor: str) -> str:
    """Return where a tensor is written: ``arena + 384``, or the parameter."""
    place = program.plan.places[tensor]
    if place.kind != "arena":
        return program.pointer(tensor)
    return f"{place.region or 'arena'} + {place.offset}"


def _uses(program: Program, templates: set[str], shifts: bool) -> dict[str, bool]:
    """Return which deviations from MISRA C the printed code has."""
    return {
        "restrict": bool(
            templates & {"conv", "depthwise_conv", "conv_transpose", "fc", "resize", "argmax"}
        ),
        "shift": shifts,
        "assembly": any(template.startswith(("dsp/", "mve/")) for template in templates),
    }


def _end_summary(end: End) -> dict[str, Any]:
    return {
        "parameter": end.parameter,
        "name": end.title,
        "type": end.type,
        "values": end.size,
        "order": end.order,
        "scale": [float(scale) for scale in end.scales],
        "zero_point": int(end.zero_point.strip("()")),
    }
