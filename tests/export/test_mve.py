"""The C for a Cortex-M55 computes what the golden model does, there and on every machine."""

import numpy as np
import pytest
from c_builds import build_named
from export_cases import Job, differing, export_all, random_networks
from fast_networks import fast_network, heavy_network
from small_networks import SMALL_NETWORKS, small_network
from vector_networks import vector_network

from aidge_quant.export.context import build_export
from aidge_quant.export.mve.kernels import KERNELS
from aidge_quant.export.mve.planes import ORDER, tap_groups
from aidge_quant.export.mve.windows import interleave
from aidge_quant.export.target import choose_kernels

FAST = range(16)
VECTOR = range(16)
MORE = range(16, 64)
HOST_BUILDS = ("gcc-sanitized", "gcc-O2", "gcc-m32", "clang-O2")
BOARD = "qemu-cortex-m55"


@pytest.fixture(scope="module")
def fast_jobs(tmp_path_factory) -> list[Job]:
    networks = {f"f{seed}": fast_network(seed) for seed in FAST}
    networks |= {f"v{seed}": vector_network(seed) for seed in VECTOR}
    networks |= {f"h{seed}": heavy_network(seed) for seed in range(2)}
    return export_all(tmp_path_factory.mktemp("fast"), networks, target="cortex-m55")


@pytest.fixture(scope="module")
def more_jobs(tmp_path_factory) -> list[Job]:
    networks = {f"f{seed}": fast_network(seed) for seed in MORE}
    networks |= {f"v{seed}": vector_network(seed) for seed in MORE}
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
    half = len(more_jobs) // 2
    for jobs in (more_jobs[:half], more_jobs[half:], other_jobs):
        assert differing(jobs, board) == {}
