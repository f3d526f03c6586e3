"""Stripes, inputs in the arena and budgets: the same results in less memory, or a clear refusal."""

import subprocess

import pytest
from c_builds import build_named, slower
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
        networks = {f"{target[0]}{seed}": wide_network(seed) for seed in range(2)}
        found += export_all(
            tmp_path_factory.mktemp(target), networks, target=target, input_in_arena=True,
            stripes=True,
        )  # fmt: skip
    return found


@pytest.mark.parametrize("name", slower(["gcc-sanitized", "gcc-m32"], ["gcc-m32"]))
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


REGIONS = {"fast": 700, "slow": 1200}


@pytest.fixture(scope="module")
def region_jobs(tmp_path_factory):
    networks = {f"r{seed}": wide_network(seed) for seed in range(2)}
    networks |= {f"s_{name}": small_network(name) for name in ("residual", "concat", "ends")}
    folder = tmp_path_factory.mktemp("regions")
    return export_all(folder, networks, regions=REGIONS, input_in_arena=True)


@pytest.mark.parametrize("name", slower(["gcc-sanitized", "gcc-O2", "clang-O2"], ["gcc-O2"]))
def test_networks_in_several_memories_equal_the_golden_model(region_jobs, name):
    assert differing(region_jobs, build_named(name)) == {}


def test_regions_are_filled_first_and_never_too_far():
    network = wide_network(0)
    plan = build_export(network, "net", regions=REGIONS).plan
    assert all(0 < plan.regions[name] <= size for name, size in REGIONS.items())
    places = (*plan.places.values(), *plan.scratch.values())
    assert {place.region for place in places if place.kind == "arena"} == {"", *REGIONS}
    assert plan.arena_size < build_export(network, "net").plan.arena_size


@pytest.mark.parametrize("size", [11, 305, 701, 1199])
def test_a_region_of_odd_size_is_not_exceeded_either(size):
    plan = build_export(wide_network(0), "net", regions={"fast": size}).plan
    assert plan.regions["fast"] <= size


def test_the_first_region_gets_what_is_read_most_often():
    network = wide_network(0)
    plan = build_export(network, "net", "cortex-m4", regions={"fast": 2000}).plan
    # The widened columns are read once for every two channels.
    assert plan.scratch[network.layers[1].name].region == "fast"


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        ({"arena": 100}, "region 'arena': expected a name in lower case other than 'arena'"),
        ({"net": 100}, "region 'net': expected a name in lower case other than"),
        ({"i": 100}, "region 'i': expected a name"),
        ({"input": 100}, "region 'input': expected a name"),
        ({"output_x": 100}, "region 'output_x': expected a name"),
        ({"Fast": 100}, "region 'Fast': expected a name in lower case"),
        ({"9": 100}, "'9' is not a C identifier"),
        ({"fast": 3}, "region fast: expected a number of bytes from 4, came 3"),
        ({"fast": 1.5}, "region fast: expected a number of bytes from 4, came 1.5"),
    ],
)
def test_regions_that_cannot_be_are_refused(tmp_path, regions, message):
    with pytest.raises(ExportError, match=message):
        export_c(wide_network(0), tmp_path / "net", name="net", regions=regions)
    assert list(tmp_path.iterdir()) == []


def test_the_exported_project_runs_with_regions(tmp_path):
    folder = export_c(wide_network(0), tmp_path / "kws", name="kws", regions=REGIONS)
    result = subprocess.run(
        ["make", "test"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "warning" not in result.stderr
