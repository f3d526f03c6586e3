"""Mixed precision under a budget: what it takes is counted as the export counts, and it fits."""

import functools
import json

import numpy as np
import pytest
from graph_cases import CASES, Drawing

import aidge_quant as aq
from aidge_quant.integer.layers import Affine
from aidge_quant.ops import Add, Flatten, ReLU, Sigmoid, producer
from aidge_quant.tuning.budget import Budget, flash_bytes, ram_bytes


def samples(graph, count=24, seed=1):
    shape = graph.inputs[0].operator.shape[1:]
    return np.random.default_rng(seed).uniform(-1, 1, (count, *shape)).astype(np.float32)


def deep():
    """Return a network of layers of several sizes, a residual and a table."""
    d = Drawing("deep")
    x = d.then(ReLU(), d.conv(d.input(3, 5, 5), 8, 3))
    y = d.then(ReLU(), d.conv(x, 16, 8))
    z = d.conv(d.then(ReLU(), d.conv(y, 16, 16)), 16, 16)
    x = d.conv(d.then(ReLU(), d.then(Add(), z, y)), 4, 16)
    x = d.then(Sigmoid(), d.fc(d.then(Flatten(), x), 12, 4 * 25))
    return d.done(d.fc(x, 5, 12))


def proposed(graph, **options):
    return aq.quantize(graph, samples(graph), effort="fast", **options)


@functools.cache
def plain(make):
    """Return the bytes of flash and RAM that a graph takes without a budget."""
    network = proposed(make()).network
    return flash_bytes(network), ram_bytes(network)


def level(network, graph):
    x = samples(graph, 32, 2)
    real = network.dequantize_output(network.run(network.quantize_input(x)))
    expected = aq.run(graph, x)
    return 10 * np.log10(np.square(expected).sum() / np.square(real - expected).sum())


def weight_bits(network):
    return [layer.weight_dtype.bits for layer in network.layers if isinstance(layer, Affine)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("deep", {}),
        ("deep", {"per_channel": False}),
        ("deep", {"weight_bits": 16}),
        ("residual", {}),
        ("depthwise_separable_relu6", {}),
    ],
    ids=str,
)
def test_the_export_counts_the_same_bytes_and_its_c_the_same_integers(name, options, tmp_path):
    make = deep if name == "deep" else CASES[name]
    graph = make()
    flash, ram = plain(make)
    result = proposed(graph, flash_budget=int(0.8 * flash), ram_budget=2 * ram, **options)
    q = result.network.quantize_input(samples(graph, 5, 2))
    aq.export_c(result.network, tmp_path / "c", name="net", test_inputs=q[:2])
    sizes = json.loads((tmp_path / "c" / "metadata.json").read_text())["sizes"]
    proposal = result.proposal
    assert (proposal.flash, proposal.ram) == (sizes["parameters"], sizes["arena"])
    assert proposal.flash == sum(row.flash for row in proposal)
    assert proposal.flash <= proposal.flash_budget
    assert proposal.ram <= proposal.ram_budget
    check = aq.verify_c(tmp_path / "c", result.network, q)
    assert check.identical == check.total


def test_without_a_budget_there_is_no_proposal():
    result = proposed(CASES["chain"]())
    assert result.proposal is None
    assert str(result) == str(result.ladder)


def test_a_budget_that_holds_all_changes_nothing():
    graph = deep()
    flash, _ = plain(deep)
    result = proposed(graph, flash_budget=flash)
    assert result.network.digest == proposed(graph).network.digest
    assert [row.change for row in result.proposal] == [0.0] * len(result.proposal)


@pytest.mark.slow
def test_a_smaller_budget_takes_more_narrow_layers_and_a_larger_error():
    graph = deep()
    flash, _ = plain(deep)
    networks = [proposed(graph, flash_budget=budget).network for budget in (flash, flash * 3 // 4)]
    assert set(weight_bits(networks[0])) == {8}
    assert set(weight_bits(networks[1])) == {4, 8}
    assert level(networks[0], graph) > level(networks[1], graph)


def kind_and_unkind():
    """Return a network of three layers, of which the second loses nothing in int4."""
    d = Drawing("kind_and_unkind")
    x = d.then(ReLU(), d.conv(d.input(4, 6, 6), 16, 4))
    y = d.conv(x, 16, 16)
    weight = y.input(1).node
    fine = np.sign(weight.operator.value) * 0.05  # int4 holds two levels exactly
    weight.operator = producer(fine.astype(np.float32))
    return d.done(d.conv(d.then(ReLU(), y), 16, 16))


def test_the_layer_that_costs_least_gives_its_bits():
    flash, _ = plain(kind_and_unkind)
    result = proposed(kind_and_unkind(), flash_budget=flash - 16 * 16 * 9 // 2)
    assert weight_bits(result.network) == [8, 4, 8]
    assert [bool(row.change) for row in result.proposal] == [False, True, False]


def test_room_in_ram_makes_tensors_wide_and_the_network_better():
    graph = CASES["residual"]()
    _, ram = plain(CASES["residual"])
    narrow, wide = (proposed(graph, ram_budget=room) for room in (ram, 2 * ram))
    types = {t.dtype for t in wide.network.tensors if t.name not in wide.network.inputs}
    assert aq.dtype.int16 in types
    assert level(wide.network, graph) > level(narrow.network, graph) + 3
    for result in (narrow, wide):
        ends = (*result.network.inputs, *result.network.outputs)
        kinds = [result.network.tensor(name).dtype for name in ends]
        assert kinds == [aq.dtype.int8, aq.dtype.int32]
    raised = [row.activation_bits == 16 for row in wide.proposal]
    assert any(raised)
    assert [bool(row.change) for row in wide.proposal] == raised


def test_the_proposal_prints_as_a_table():
    graph = deep()
    flash, ram = plain(deep)
    result = proposed(graph, flash_budget=flash * 3 // 4, ram_budget=ram)
    lines = str(result.proposal).splitlines()
    titles = ["layer", "weight bits", "activation bits", "flash bytes", "change dB"]
    assert lines[0].split() == " ".join(titles).split()
    assert len(lines) == len(result.proposal) + 3
    assert lines[-2] == f"flash: {result.proposal.flash} bytes of {flash * 3 // 4}"
    assert lines[-1] == f"RAM: {result.proposal.ram} bytes of {ram}"
    assert str(result).endswith(str(result.proposal))


@pytest.mark.parametrize(
    ("budget", "options", "match"),
    [
        ({"flash_budget": 100}, {}, r"100 bytes cannot be met; .* take \d+ bytes.*per_channel"),
        ({"flash_budget": 100}, {"per_channel": False}, r"or use a smaller network$"),
        ({"ram_budget": 100}, {}, r"100 bytes cannot be met; the arena of int8 .* takes \d+ bytes"),
        ({"ram_budget": 100}, {"activation_bits": 16}, r"int16 .*, or activation_bits=8$"),
    ],
)
def test_a_budget_that_cannot_be_met_is_refused_with_the_least(budget, options, match):
    with pytest.raises(aq.DataError, match=match):
        proposed(deep(), **budget, **options)


def test_the_least_that_an_error_names_can_be_met():
    graph = deep()
    with pytest.raises(aq.DataError) as raised:
        proposed(graph, flash_budget=1)
    least = int(str(raised.value).split("take ")[1].split()[0])
    result = proposed(graph, flash_budget=least)
    assert result.proposal.flash <= least  # arrays that turn out equal are stored once
    assert set(weight_bits(result.network)) == {4}
    with pytest.raises(aq.DataError):
        proposed(graph, flash_budget=least - 1)


@pytest.mark.parametrize("value", [0, -5, 1.5])
def test_a_budget_is_a_number_of_bytes(value):
    with pytest.raises(aq.UnsupportedError, match="ram_budget: expected a number of bytes"):
        Budget(ram=value)
