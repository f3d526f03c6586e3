"""What the exported C is made for: the kernels it uses and the order of its weights.

Every target's C computes the same on every machine; on its own it is fast. Which kernel a layer
gets, and what that kernel needs of the memory plan, is decided here before anything is placed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aidge_quant.errors import ExportError
from aidge_quant.export.dsp import kernels as dsp
from aidge_quant.export.dsp.rule import Rule
from aidge_quant.export.mve import kernels as mve
from aidge_quant.export.program import Program
from aidge_quant.integer.layers import Layer
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.memory.needs import Needs
from aidge_quant.memory.plan import Plan, plan_memory

GENERIC = "generic"

#: Targets, and their tables of kernels, the first that computes a layer first.
TARGETS: dict[str, tuple[Mapping[type[Layer], Rule], ...]] = {
    GENERIC: (dsp.KERNELS,),
    "cortex-m0": (dsp.KERNELS,),
    "cortex-m4": (dsp.KERNELS,),
    "cortex-m55": (mve.KERNELS, dsp.KERNELS),
    "rv32": (dsp.KERNELS,),
}


@dataclass(frozen=True)
class Choice:
    """The kernel of a layer where it is not the portable one.

    Attributes
    ----------
    add : callable
        Adds parameters and call of the layer to a program.
    needs : Needs
    """

    add: Callable[[Layer, Program], None]
    needs: Needs


def check_target(target: str) -> str:
    """Return ``target`` if there is such a target.

    Raises
    ------
    ExportError
        If there is none.
    """
    if target not in TARGETS:
        known = ", ".join(TARGETS)
        raise ExportError(f"export target is {target!r}, expected one of {known}")
    return target


def choose_kernels(network: IntegerNetwork, target: str) -> Mapping[str, Choice]:
    """Return the choices by name of the layer; layers that are left out get the portable kernel."""
    tables = TARGETS[check_target(target)]
    choices = {}
    for layer in network.layers:
        rules = (table[type(layer)] for table in tables if type(layer) in table)
        rule = next((rule for rule in rules if rule.fits(layer, network)), None)
        if rule is not None:
            choices[layer.name] = Choice(rule.add, rule.needs(layer, network))
    return choices


def plan_for(
    network: IntegerNetwork,
    target: str,
    *,
    input_in_arena: bool,
    regions: Mapping[str, int] | None = None,
    quick: bool = False,
) -> tuple[Mapping[str, Choice], Plan]:
    """Return the kernels and the memory plan (`plan_memory`) of ``network`` for a target."""
    choices = choose_kernels(network, target)
    needs = {layer: choice.needs for layer, choice in choices.items()}
    return choices, plan_memory(
        network, needs, input_in_arena=input_in_arena, regions=regions, quick=quick
    )
