"""Whether an export fits into the memory that it may take; if not, what would help."""

from aidge_quant.dtypes import dtype
from aidge_quant.errors import ExportError
from aidge_quant.export.context import Export, build_export
from aidge_quant.integer.layers import Affine
from aidge_quant.memory.placement import bytes_at
from aidge_quant.memory.values import Value

_NAMED = 3


def check_budgets(
    export: Export,
    ram_budget: int | None,
    flash_budget: int | None,
    *,
    input_in_arena: bool,
    stripes: bool,
) -> None:
    """Raise unless ``export`` fits.

    Parameters
    ----------
    export : Export
    ram_budget, flash_budget : int or None
        Bytes, as `export_c` takes them.
    input_in_arena, stripes : bool
        What it was made with.

    Raises
    ------
    ExportError
        With the layers that need most, and the options that would need less.
    """
    problems = []
    sizes = export.summary["sizes"]
    taken = sizes["arena"] + sum(sizes["regions"].values())
    if ram_budget is not None and taken > ram_budget:
        problems.append(
            f"it needs {_ram(export)}, expected at most {ram_budget}; "
            + "; ".join(_ram_remedies(export, input_in_arena, stripes))
        )
    flash = sizes["parameters"]
    if flash_budget is not None and flash > flash_budget:
        problems.append(
            f"its parameters take {flash} bytes of flash, expected at most {flash_budget}; "
            + "; ".join(_flash_remedies(export))
        )
    if problems:
        name = export.program.network.name
        raise ExportError(f"network {name} does not fit: " + "\n  ".join(problems))


def _ram(export: Export) -> str:
    """Return what the caller has to provide."""
    sizes = export.summary["sizes"]
    arena, ram = sizes["arena"] + sum(sizes["regions"].values()), sizes["ram"]
    return f"{arena} bytes of working memory and {ram - arena} for inputs and outputs outside it"


def _ram_remedies(export: Export, input_in_arena: bool, stripes: bool) -> list[str]:
    """Return the layers that need most, and what each option would give."""
    network = export.program.network
    plan = export.plan
    values = [v for v in plan.values if v.scratch_of or _in_arena(export, v)]
    use = {
        layer.name: bytes_at(values, plan.overlaps, position)
        for position, layer in enumerate(network.layers)
    }
    busiest = sorted(use, key=lambda name: -use[name])[:_NAMED]
    remedies = [f"most is in use at {', '.join(f'{name} ({use[name]})' for name in busiest)}"]
    options = [("input_in_arena=True", True, stripes), ("stripes=True", input_in_arena, True)]
    options.append(("both", True, True))
    seen = {(input_in_arena, stripes)}
    for named, arena, cut in options:
        if (arena, cut) in seen:
            continue
        seen.add((arena, cut))
        other = build_export(
            export.network, "net", export.target, input_in_arena=arena, stripes=cut
        )
        remedies.append(f"with {named} it would need {_ram(other)}")
    if any(tensor.dtype is dtype.int16 for tensor in network.tensors):
        remedies.append("int8 activations take half of what int16 ones do")
    return remedies


def _in_arena(export: Export, value: Value) -> bool:
    return all(export.plan.places[name].kind == "arena" for name in value.tensors)


def _flash_remedies(export: Export) -> list[str]:
    """Return the layers that take most, and what narrower weights would give."""
    rows = sorted(export.summary["layers"], key=lambda row: -row["flash"])[:_NAMED]
    most = ", ".join(f"{row['name']} ({row['flash']})" for row in rows)
    affine = [layer for layer in export.network.layers if isinstance(layer, Affine)]
    saved = sum(
        layer.weight.size * (layer.weight_dtype.bits - 4) // 8
        for layer in affine
        if layer.weight_dtype is not dtype.int4
    )
    remedies = [f"most is taken by {most}"]
    if saved:
        remedies.append(
            f"int4 weights would take {saved} bytes less (weight_bits=4, or flash_budget of "
            "`quantize` for some layers)"
        )
    return remedies
