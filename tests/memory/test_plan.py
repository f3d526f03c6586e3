"""The memory plan keeps what lives together apart, and its size is exact."""

import pytest
from hypothesis import HealthCheck, given, settings
from random_networks import integer_networks
from small_networks import SMALL_NETWORKS, Builder, small_network

from aidge_quant.integer import layers as il
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.memory.plan import ALIGNMENT, Plan, plan_memory
from aidge_quant.memory.values import is_view

many = settings(
    deadline=None,
    derandomize=True,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def rounded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def touched(network: IntegerNetwork, plan: Plan, name: str) -> tuple[str, int, int, int]:
    """Return memory, start and end of a tensor."""
    tensor, place = network.tensor(name), plan.places[name]
    size = tensor.size * tensor.dtype.numpy.itemsize
    return place.kind, place.index, place.offset, place.offset + size


def overlap(a, b) -> bool:
    return a[:2] == b[:2] and a[2] < b[3] and b[2] < a[3]


def expect_sound(network: IntegerNetwork) -> None:
    """Follow the layers: whatever is read or returned must still be what was written."""
    plan = plan_memory(network)
    content: dict[str, str] = dict(zip(network.inputs, network.inputs, strict=True))
    for layer in network.layers:
        place = touched(network, plan, layer.output)
        for name in layer.inputs:
            assert name in content, f"{layer} reads {name}, which was overwritten"
        if is_view(layer, network):
            assert plan.places[layer.output] == plan.places[layer.inputs[0]]
        else:
            assert place[0] != "input"
            (value,) = (v for v in plan.values if layer.output in v.tensors)
            distances = {
                name: distance
                for index, distance in value.may_replace.items()
                for name in plan.values[index].tensors
            }
            same = {name for index in value.may_coincide for name in plan.values[index].tensors}
            for name in layer.inputs:
                there = touched(network, plan, name)
                if overlap(there, place) and name in same:
                    assert place[2] == there[2]
                elif overlap(there, place):
                    assert place[2] + distances[name] <= there[2]
            content = {
                name: at
                for name, at in content.items()
                if not overlap(touched(network, plan, name), place)
            }
        content[layer.output] = layer.name
    copied = {output for _, output in plan.copies}
    for position, name in enumerate(network.outputs):
        assert name in content, f"output {name} was overwritten"
        place = plan.places[name]
        assert (position in copied) == ((place.kind, place.index) != ("output", position))


def expect_exact(network: IntegerNetwork) -> None:
    plan = plan_memory(network)
    ends = [touched(network, plan, t.name) for t in network.tensors]
    arena = [end for kind, _, _, end in ends if kind == "arena"]
    assert plan.arena_size == max(rounded(max(arena, default=0)), ALIGNMENT)
    sizes = [rounded(v.size) for v in plan.values if not v.inputs and not v.outputs]
    assert plan.lower_bound <= max(plan.arena_size, 0)
    assert plan.arena_size <= max(sum(sizes), ALIGNMENT)
    assert all(place.offset % ALIGNMENT == 0 for place in plan.places.values())


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
