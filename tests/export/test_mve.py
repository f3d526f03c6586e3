"""The C for a Cortex-M55 computes what the golden model does, there and on every machine."""

import pytest
from c_builds import build_named
from export_cases import Job, differing, export_all, random_networks
from fast_networks import fast_network, heavy_network
from small_networks import SMALL_NETWORKS, small_network

FAST = range(24)
MORE = range(24, 72)
HOST_BUILDS = ("gcc-sanitized", "gcc-O2", "gcc-m32", "clang-O2")
BOARD = "qemu-cortex-m55"


@pytest.fixture(scope="module")
def fast_jobs(tmp_path_factory) -> list[Job]:
    networks = {f"f{seed}": fast_network(seed) for seed in FAST}
    networks |= {f"h{seed}": heavy_network(seed) for seed in range(2)}
    return export_all(tmp_path_factory.mktemp("fast"), networks, target="cortex-m55")


@pytest.fixture(scope="module")
def more_jobs(tmp_path_factory) -> list[Job]:
    networks = {f"f{seed}": fast_network(seed) for seed in MORE}
    return export_all(tmp_path_factory.mktemp("more"), networks, target="cortex-m55")


@pytest.fixture(scope="module")
def other_jobs(tmp_path_factory) -> list[Job]:
    networks = {f"small_{name}": small_network(name) for name in SMALL_NETWORKS}
    networks |= {f"n{i}": network for i, network in enumerate(random_networks(24))}
    return export_all(tmp_path_factory.mktemp("other"), networks, target="cortex-m55")


@pytest.mark.parametrize("name", HOST_BUILDS)
def test_vector_kernels_in_plain_c_equal_the_golden_model(fast_jobs, name):
    assert differing(fast_jobs, build_named(name)) == {}


@pytest.mark.qemu
def test_vector_kernels_on_a_cortex_m55_equal_the_golden_model(fast_jobs):
    assert differing(fast_jobs, build_named(BOARD)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gcc-sanitized"])
def test_all_networks_for_a_cortex_m55_equal_the_golden_model_elsewhere(
    more_jobs, other_jobs, name
):
    assert differing(more_jobs + other_jobs, build_named(name)) == {}


@pytest.mark.qemu
@pytest.mark.slow
def test_all_networks_for_a_cortex_m55_equal_the_golden_model(more_jobs, other_jobs):
    board = build_named(BOARD)
    assert differing(more_jobs, board) | differing(other_jobs, board) == {}
