"""The memory plan keeps what lives together apart, and its size is exact."""

import pytest
from hypothesis import HealthCheck, given, settings
from random_networks import integer_networks
from small_networks import SMALL_NETWORKS, Builder, small_network

from aidge_quant.export.context import build_export
from aidge_quant.integer import layers as il
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.memory.plan import ALIGNMENT, Plan, plan_memory
from aidge_quant.memory.values import replaceable_inputs
from aidge_quant.memory.views import find_moves, locate, nbytes

many = settings(
    deadline=None,
    derandomize=True,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def rounded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


Bytes = dict[tuple[str, int, int], tuple[str, int]]


def cells(network: IntegerNetwork, plan: Plan, name: str, first: int = 0, end: int | None = None):
    """Return the bytes of a tensor: each place with the value and the position that it holds."""
    place, found = plan.places[name], locate(name, plan.parts)
    return {
        (place.kind, place.index, place.offset + i): (found.whole, found.offset + i)
        for i in range(first, nbytes(name, network) if end is None else end)
    }


def expect_sound(network: IntegerNetwork, **options: bool) -> None:
    """Follow the layers, byte by byte: what is read or returned must still be what was written.

    A layer that computes nothing passes on what its inputs hold. One that overwrites an input may
    do so by the distances that it stated.
    """
    plan = plan_memory(network, **options)
    memory: Bytes = {}
    for name in network.inputs:
        memory.update(cells(network, plan, name))
    for layer in network.layers:
        moves = find_moves(layer, network, plan.parts)
        for name in moves.reads:
            for cell, content in cells(network, plan, name).items():
                assert memory.get(cell) == content, f"{layer} reads {name}, which was overwritten"
        for first, end in moves.writes:
            written = cells(network, plan, layer.output, first, end)
            for name in moves.reads:
                if written.keys() & cells(network, plan, name).keys():
                    assert name in replaceable_inputs(layer, network)
                    assert plan.places[layer.output].offset <= plan.places[name].offset
            memory.update(written)
        for cell, content in cells(network, plan, layer.output).items():
            assert memory.get(cell) == content, f"{layer}: byte {content[1]} was not written"
    copied = {output for _, output in plan.copies}
    for position, name in enumerate(network.outputs):
        for cell, content in cells(network, plan, name).items():
            assert memory[cell] == content, f"output {name} was overwritten"
        place = plan.places[name]
        assert (position in copied) == ((place.kind, place.index) != ("output", position))


def expect_exact(network: IntegerNetwork, **options: bool) -> None:
    plan = plan_memory(network, **options)
    arena = [
        cell[2] + 1
        for t in network.tensors
        for cell in cells(network, plan, t.name)
        if cell[0] == "arena"
    ]
    assert plan.arena_size == max(rounded(max(arena, default=0)), ALIGNMENT)
    sizes = [rounded(v.size) for v in plan.values]
    assert plan.lower_bound <= plan.arena_size <= max(sum(sizes), ALIGNMENT)


@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_plans_of_small_networks_are_sound_and_exact(name):
    expect_sound(small_network(name))
    expect_exact(small_network(name))


@many
@given(integer_networks(max_layers=12))
def test_plans_of_random_networks_are_sound_and_exact(network):
    expect_sound(network)
    expect_exact(network)


@settings(many, max_examples=20)
@given(integer_networks(max_layers=12))
def test_the_same_network_gives_the_same_plan(network):
    assert plan_memory(network).places == plan_memory(network).places


def test_a_chain_in_place_takes_one_tensor():
    b = Builder(0)
    x = b.input((4, 4, 8))
    for _ in range(5):
        x = b.add(il.Clamp, [x], (4, 4, 8), lower=-9, upper=9)
    plan = plan_memory(b.network(b.add(il.Clamp, [x], (4, 4, 8), lower=-9, upper=9)))
    assert plan.arena_size == 128


def test_a_tensor_that_is_read_again_is_not_overwritten():
    b = Builder(0)
    x = b.input((4, 4, 8))
    y = b.add(il.Clamp, [x], (4, 4, 8), lower=-90, upper=90)
    z = b.add(il.Clamp, [y], (4, 4, 8), lower=-9, upper=9)
    step = b.requantization(shift=(1, 1))
    s = b.add(il.Add, [y, z], (4, 4, 8), multipliers=(1, 1), bias=1, requantization=step)
    plan = plan_memory(b.network(b.add(il.Clamp, [s], (4, 4, 8), lower=0, upper=9)))
    assert plan.places[y] != plan.places[z]
    assert plan.places[s] in (plan.places[y], plan.places[z])
    assert plan.arena_size == 256


def test_a_network_of_one_layer_needs_no_arena():
    plan = plan_memory(small_network("conv"))
    assert {place.kind for place in plan.places.values()} == {"input", "output"}
    assert plan.arena_size == ALIGNMENT


def test_an_output_that_is_an_input_or_named_twice_is_copied():
    network = small_network("ends")
    assert [output for _, output in plan_memory(network).copies] == [0, 2, 4, 5]


def rows_of(size: int, b: Builder, x: str, count: int) -> str:
    return b.add(il.Clamp, [x], (count, 4, 8), lower=-size, upper=size)


def joined(b: Builder) -> tuple[IntegerNetwork, list[str], str]:
    """Return a network that cuts rows out of a tensor, and puts such rows together again."""
    x = b.input((6, 4, 8))
    y = rows_of(90, b, x, 6)
    cuts = [(0, 2), (2, 4)]
    rows = []
    for start, count in cuts:
        fields = {"starts": (start, 0, 0), "steps": (1, 1, 1)}
        cut = b.add(il.Slice, [y], (count, 4, 8), **fields)
        rows.append(rows_of(9 + start, b, cut, count))
    z = b.add(il.Concat, rows, (6, 4, 8), axis=0)
    return b.network(rows_of(5, b, z, 6)), rows, z


def test_rows_are_cut_and_joined_without_a_copy():
    network, rows, z = joined(Builder(0))
    plan = plan_memory(network)
    expect_sound(network)
    start = plan.places[z].offset
    assert [plan.places[name].offset - start for name in rows] == [0, 2 * 32]
    cuts = [layer for layer in network.layers if isinstance(layer, il.Slice)]
    assert all(layer.output in plan.parts for layer in cuts)
    text = "\n".join(
        c.function for s in build_export(network, "net").program.steps for c in s.calls
    )
    assert "copy" not in text


def test_rows_grow_over_the_tensor_that_they_were_cut_from():
    network, _, _ = joined(Builder(0))
    assert plan_memory(network).arena_size == 6 * 32


def test_a_padded_tensor_is_written_between_its_padding():
    b = Builder(0)
    y = rows_of(90, b, b.input((3, 4, 8)), 3)
    z = b.add(il.Pad, [y], (6, 4, 8), before=(1, 0, 0), after=(2, 0, 0), value=3)
    network = b.network(rows_of(50, b, z, 6))
    plan = plan_memory(network)
    expect_sound(network)
    assert plan.places[y].offset - plan.places[z].offset == 32
    calls = [call for s in build_export(network, "net").program.steps for call in s.calls]
    assert [call.function for call in calls].count("net_fill_s8") == 2


def test_channels_side_by_side_are_copied():
    b = Builder(0)
    x = b.input((3, 4, 8))
    parts = [rows_of(9, b, x, 3), rows_of(5, b, x, 3)]
    z = b.add(il.Concat, parts, (3, 4, 16), axis=2)
    network = b.network(z)
    assert plan_memory(network).parts == {}
    expect_sound(network)


@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_inputs_in_the_arena_are_as_safe(name):
    network = small_network(name)
    expect_sound(network, input_in_arena=True)
    expect_exact(network, input_in_arena=True)
    places = plan_memory(network, input_in_arena=True).places
    assert all(places[name].kind == "arena" for name in network.inputs)


@settings(many, max_examples=50)
@given(integer_networks(max_layers=12))
def test_inputs_of_random_networks_in_the_arena_are_as_safe(network):
    expect_sound(network, input_in_arena=True)
    expect_exact(network, input_in_arena=True)


def test_an_input_in_the_arena_makes_room_for_what_is_computed_from_it():
    b = Builder(0)
    x = b.input((4, 4, 8))
    y = b.add(il.Clamp, [x], (4, 4, 8), lower=-90, upper=90)
    network = b.network(b.add(il.Clamp, [y], (4, 4, 8), lower=-9, upper=9))
    assert plan_memory(network, input_in_arena=True).arena_size == 128
