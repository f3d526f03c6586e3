"""Memory plan of a network: where every tensor lives in the exported C.

Inputs are read where the caller has them, unless they are asked to be in the arena, and outputs are
written where the caller wants them; all other values share one arena. Which values are alive
together is exact, so the arena is as small as the placement finds, and its size is known before
anything is compiled.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.memory.needs import Needs
from aidge_quant.memory.overlaps import Overlaps, find_overlaps
from aidge_quant.memory.placement import (
    ALIGNMENT,
    EFFORT,
    aligned,
    end_of,
    lower_bound,
    place_values,
)
from aidge_quant.memory.regions import ARENA, divide
from aidge_quant.memory.values import Value, find_values
from aidge_quant.memory.views import Part, find_parts


@dataclass(frozen=True)
class Place:
    """Where a tensor lives.

    Attributes
    ----------
    kind : {"arena", "input", "output"}
    index : int
        Position among the network's inputs or outputs; 0 for the arena.
    offset : int
        Bytes from the start of the arena, of the region, of the input or of the output.
    region : str
        Of a place in the arena: the region that it is in, "" for none.
    """

    kind: str
    index: int
    offset: int
    region: str = ARENA


@dataclass(frozen=True)
class Plan:
    """Where every tensor of a network lives, and what has to be copied in the end.

    Attributes
    ----------
    places : mapping of tensor name to Place
    scratch : mapping of layer name to Place
        Where the working memory of a layer begins, for those that have some.
    arena_size : int
        Bytes, a multiple of 4; 4 where no tensor needs the arena, as C has no empty array.
    regions : mapping of str to int
        Bytes used of every region, likewise.
    copies : tuple of (str, int)
        Tensor and position of the output that it has to be copied to after the last layer.
    parts : mapping of tensor name to Part
        Tensors that lie in others.
    values : tuple of Value
    overlaps : Overlaps
        Of those in the arena.
    lower_bound : int
        Bytes that are alive together at the busiest layer: no plan can be smaller, all regions
        taken together.
    """

    places: Mapping[str, Place]
    scratch: Mapping[str, Place]
    arena_size: int
    regions: Mapping[str, int]
    copies: tuple[tuple[str, int], ...]
    parts: Mapping[str, Part]
    values: tuple[Value, ...]
    overlaps: Overlaps
    lower_bound: int


def plan_memory(
    network: IntegerNetwork,
    needs: Mapping[str, Needs] | None = None,
    *,
    input_in_arena: bool = False,
    regions: Mapping[str, int] | None = None,
    quick: bool = False,
) -> Plan:
    """Return the memory plan of ``network``; the same arguments give the same plan.

    Parameters
    ----------
    needs : mapping of layer name to Needs, optional
        Of the layers whose kernels ask for something else than the portable ones.
    input_in_arena : bool
        Whether the inputs of the network have a place in the arena, which is used again when they
        have been read.
    regions : mapping of str to int, optional
        Bytes of memories that are filled before the arena, the first with the bytes that are
        touched most often.
    quick : bool
        Whether an estimate will do: a plan that is right but may be somewhat larger.
    """
    joined, apart = (find_parts(network, join) for join in (True, False))
    regions = regions or {}
    plan = _plan(network, joined, needs, input_in_arena, regions, quick)
    if quick or regions or joined == apart or plan.arena_size <= plan.lower_bound:
        return plan
    other = _plan(network, apart, needs, input_in_arena, regions, quick=True)
    if other.lower_bound < plan.arena_size < other.arena_size:
        other = _plan(network, apart, needs, input_in_arena, regions, quick)
    return min(plan, other, key=_size)


def _size(plan: Plan) -> int:
    return plan.arena_size


def _plan(
    network: IntegerNetwork,
    parts: Mapping[str, Part],
    needs: Mapping[str, Needs] | None,
    input_in_arena: bool,
    regions: Mapping[str, int],
    quick: bool,
) -> Plan:
    values = find_values(network, parts, needs)
    in_arena = [v for v in values if not v.outputs and (input_in_arena or not v.inputs)]
    # An input that is an output too is copied there.
    in_arena += [v for v in values if v.outputs and v.inputs and input_in_arena]
    overlaps = find_overlaps(in_arena)
    divided = divide(network, in_arena, overlaps, regions)
    offsets: dict[int, tuple[str, int]] = {}
    sizes = {}
    for region, inside in divided.items():
        # What was tried while a region was filled fits, so that is what it gets.
        found = place_values(inside, overlaps, 0 if quick or region != ARENA else EFFORT)
        offsets |= {index: (region, offset) for index, offset in found.items()}
        sizes[region] = max(aligned(end_of(inside, found)), ALIGNMENT)
    places: dict[str, Place] = {}
    direct: set[int] = set()
    for value in values:
        region = ARENA
        if value.index in offsets:
            kind, index = "arena", 0
            region, start = offsets[value.index]
        elif value.inputs:
            kind, index, start = "input", value.inputs[0], 0
        else:
            kind, index, start = "output", value.outputs[0], 0
            direct.add(index)
        for name, at in value.tensors.items():
            places[name] = Place(kind, index, start + at, region)
    return Plan(
        places=places,
        scratch={
            v.scratch_of: Place("arena", 0, offsets[v.index][1], offsets[v.index][0])
            for v in in_arena
            if v.scratch_of
        },
        arena_size=sizes[ARENA],
        regions={name: sizes[name] for name in regions},
        copies=tuple((n, i) for i, n in enumerate(network.outputs) if i not in direct),
        parts=parts,
        values=values,
        overlaps=overlaps,
        lower_bound=lower_bound(in_arena, overlaps),
    )
