"""Stripes, inputs in the arena and budgets: the same results in less memory, or a clear refusal."""

import pytest
from c_builds import build_named
from export_cases import differing, export_all
from fast_networks import FastBuilder
from small_networks import small_network

from aidge_quant.errors import ExportError
from aidge_quant.export import export_c, read_metadata
from aidge_quant.export.context import build_export
from aidge_quant.integer import layers as il
from aidge_quant.integer.network import IntegerNetwork


def wide_network(seed: int) -> IntegerNetwork:
    """Return a network whose first layers have the largest tensors, as those of images do."""
    b = FastBuilder(seed)
    x = b.input((16, 12, 3), zero=b.zero())
    height, width = 16, 12
    for stride, kernel, out in (((1, 1), (3, 3), 12), ((2, 2), (3, 3), 4), ((2, 2), (3, 3), 6)):
        tensor = b.tensors[-1]
        pad = kernel[0] // 2
        height, width = -(-height // stride[0]), -(-width // stride[1])
        fields = b.weights((out, *kernel, tensor.channels), out, 9 * tensor.channels)
        x = b.add(
            il.Convolution, [x], (height, width, out), zero=b.zero(), stride=stride,
            dilation=(1, 1), padding=(pad,) * 4, groups=1, pad_value=tensor.zero_point, **fields,
        )  # fmt: skip
    fields = b.weights((5, height * width * 6), 5, height * width * 6)
    return b.network(b.add(il.FullyConnected, [x], (5,), **fields))


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    found = []
    for target in ("generic", "cortex-m4"):
        networks = {f"{target[0]}{seed}": wide_network(seed) for seed in range(4)}
        found += export_all(
            tmp_path_factory.mktemp(target), networks, target=target, input_in_arena=True,
            stripes=True,
        )  # fmt: skip
    return found


@pytest.mark.parametrize("name", ["gcc-sanitized", "gcc-m32"])
def test_networks_in_stripes_equal_the_golden_model(jobs, name):
    assert differing(jobs, build_named(name)) == {}


@pytest.mark.qemu
@pytest.mark.parametrize("name", ["qemu-cortex-m4"])
def test_networks_in_stripes_on_a_cortex_m4_equal_the_golden_model(jobs, name):
    assert differing(jobs, build_named(name)) == {}


@pytest.mark.parametrize("target", ["generic", "cortex-m4"])
def test_stripes_need_less_memory_and_repeat_no_constant(target):
    network = wide_network(0)
    whole = build_export(network, "net", target, input_in_arena=True)
    cut = build_export(network, "net", target, input_in_arena=True, stripes=True)
    assert cut.plan.arena_size < whole.plan.arena_size
    assert cut.summary["sizes"]["parameters"] == whole.summary["sizes"]["parameters"]
    assert cut.summary["sizes"]["macs"] >= whole.summary["sizes"]["macs"]
    assert cut.context["digest"] == network.digest


def test_a_network_without_such_layers_stays_as_it_is():
    network = small_network("residual")
    assert build_export(network, "net", stripes=True).program.network is network


def test_with_a_budget_no_more_rows_are_computed_twice_than_it_asks_for():
    network = wide_network(0)
    whole, least = (
        build_export(network, "net", input_in_arena=True, stripes=cut).summary["sizes"]
        for cut in (False, True)
    )
    budget = (whole["arena"] + least["arena"]) // 2
    options = {"input_in_arena": True, "stripes": True, "ram_budget": budget}
    some = build_export(network, "net", **options).summary["sizes"]
    assert some["arena"] <= budget
    assert whole["macs"] <= some["macs"] <= least["macs"]


def test_a_budget_that_holds_changes_nothing(tmp_path):
    network = wide_network(0)
    sizes = build_export(network, "net").summary["sizes"]
    limits = {"ram_budget": sizes["arena"], "flash_budget": sizes["parameters"]}
    folder = export_c(network, tmp_path / "net", name="net", **limits)
    assert read_metadata(folder)["sizes"] == sizes


@pytest.mark.parametrize(
    ("key", "size", "remedy"),
    [
        ("ram_budget", "arena", "with input_in_arena=True it would need"),
        ("ram_budget", "arena", "with both it would need"),
        ("flash_budget", "parameters", "int4 weights would take"),
    ],
)
def test_a_budget_that_is_exceeded_is_refused_with_what_would_help(tmp_path, key, size, remedy):
    network = wide_network(0)
    limit = build_export(network, "net").summary["sizes"][size] - 1
    with pytest.raises(ExportError, match=f"expected at most {limit}; most .*{remedy}"):
        export_c(network, tmp_path / "net", name="net", **{key: limit})
    assert list(tmp_path.iterdir()) == []


def test_what_the_refusal_promises_is_kept(tmp_path):
    network = wide_network(0)
    arena = build_export(network, "net", input_in_arena=True, stripes=True).plan.arena_size
    with pytest.raises(ExportError, match=f"with both it would need {arena} bytes"):
        export_c(network, tmp_path / "net", name="net", ram_budget=arena)
    both = {"input_in_arena": True, "stripes": True}
    folder = export_c(network, tmp_path / "net", name="net", ram_budget=arena, **both)
    assert read_metadata(folder)["sizes"]["arena"] == arena


def test_equal_constants_are_stored_once():
    b = FastBuilder(0)
    x = b.input((3, 3, 4))
    fields = b.weights((4, 1, 1, 4), 4, 4)
    for _ in range(2):
        x = b.add(
            il.Convolution, [x], (3, 3, 4), stride=(1, 1), dilation=(1, 1), padding=(0,) * 4,
            groups=1, pad_value=0, **fields,
        )  # fmt: skip
    program = build_export(b.network(x), "net").program
    arrays = [(c.type, c.values.tobytes()) for c in program.constants]
    assert len(set(arrays)) == len(arrays)
    assert len({(r.type, r.fields) for r in program.records}) == len(program.records)
    assert program.steps[1].flash == 0
