"""The bytes that the exported C of a network takes, without printing it."""

from aidge_quant.export.calls import add_layers
from aidge_quant.export.program import Ends, Program
from aidge_quant.export.target import GENERIC, plan_for
from aidge_quant.integer.network import IntegerNetwork


def parameter_bytes_in_c(network: IntegerNetwork, target: str = GENERIC) -> dict[str, int]:
    """Return the bytes of constant arrays by layer: weights as the kernels read them, tables.

    Arrays that are equal count once, for the first layer, as they are printed once.
    """
    choices, plan = plan_for(network, target, input_in_arena=False, quick=True)
    ends = Ends(network.inputs, network.outputs)
    program = Program(network, plan, "net", ends)
    add_layers(program, choices)
    return {step.layer: step.flash for step in program.steps if step.layer}


def arena_bytes_in_c(network: IntegerNetwork, target: str = GENERIC, *, quick: bool = False) -> int:
    """Return the bytes of working memory; inputs and outputs are where the caller has them.

    Parameters
    ----------
    quick : bool
        Whether an estimate will do that may be somewhat larger.
    """
    return plan_for(network, target, input_in_arena=False, quick=quick)[1].arena_size
