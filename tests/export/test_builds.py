"""The compiled C equals the golden model, with every compiler of the table."""

import pytest
from c_builds import QEMU_BUILDS, build_named, slower
from export_cases import Job, differing, export_all, random_networks
from small_networks import SMALL_NETWORKS, small_network

from aidge_quant.integer.layers import LAYERS

QUICK_BUILDS = ("gcc-sanitized", "gcc-O2", "gcc-m32", "clang-O2")
SLOW_BUILDS = ("gcc-O3", "gcc-Os", "clang-sanitized")


@pytest.fixture(scope="module")
def small_jobs(tmp_path_factory) -> list[Job]:
    networks = {f"small_{name}": small_network(name) for name in SMALL_NETWORKS}
    return export_all(tmp_path_factory.mktemp("small"), networks)


@pytest.fixture(scope="module")
def random_jobs(tmp_path_factory) -> list[Job]:
    networks = {f"n{i}": network for i, network in enumerate(random_networks(40))}
    return export_all(tmp_path_factory.mktemp("random"), networks)


@pytest.fixture(scope="module")
def arena_jobs(tmp_path_factory) -> list[Job]:
    networks = {f"small_{name}": small_network(name) for name in SMALL_NETWORKS}
    networks |= {f"n{i}": network for i, network in enumerate(random_networks(40))}
    return export_all(tmp_path_factory.mktemp("arena"), networks, input_in_arena=True)


@pytest.fixture(scope="module")
def many_jobs(tmp_path_factory) -> list[Job]:
    networks = {f"n{i}": network for i, network in enumerate(random_networks(300, 10))}
    return export_all(tmp_path_factory.mktemp("many"), networks, batch=5)


def test_the_small_networks_have_every_kind_of_layer():
    kinds = {type(layer) for name in SMALL_NETWORKS for layer in small_network(name).layers}
    assert kinds == set(LAYERS)


@pytest.mark.parametrize("name", slower(QUICK_BUILDS, ["gcc-sanitized"]))
def test_every_layer_in_c_equals_the_golden_model(small_jobs, name):
    assert differing(small_jobs, build_named(name)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW_BUILDS)
def test_every_layer_in_c_equals_the_golden_model_with_more_compilers(small_jobs, name):
    assert differing(small_jobs, build_named(name)) == {}


@pytest.mark.parametrize("name", slower(["gcc-sanitized", "gcc-O2"], ["gcc-O2"]))
def test_random_networks_in_c_equal_the_golden_model(random_jobs, name):
    assert differing(random_jobs, build_named(name)) == {}


@pytest.mark.parametrize("name", slower(["gcc-sanitized", "gcc-O2"], ["gcc-O2"]))
def test_networks_with_their_inputs_in_the_arena_equal_the_golden_model(arena_jobs, name):
    assert differing(arena_jobs, build_named(name)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK_BUILDS + SLOW_BUILDS)
def test_many_random_networks_in_c_equal_the_golden_model(many_jobs, name):
    assert differing(many_jobs, build_named(name)) == {}


@pytest.mark.qemu
def test_every_layer_on_an_emulated_cortex_m4_equals_the_golden_model(small_jobs):
    assert differing(small_jobs, build_named("qemu-cortex-m4")) == {}


@pytest.mark.qemu
@pytest.mark.slow
@pytest.mark.parametrize("name", QEMU_BUILDS)
def test_random_networks_on_emulated_cores_equal_the_golden_model(small_jobs, random_jobs, name):
    assert differing(small_jobs + random_jobs, build_named(name)) == {}
