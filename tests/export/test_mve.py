"""The C for a Cortex-M55 computes what the golden model does, there and on every machine."""

import numpy as np
import pytest
from c_builds import build_named, slower
from export_cases import Job, differing, export_all, random_networks
from fast_networks import fast_network, heavy_network
from small_networks import SMALL_NETWORKS, small_network
from vector_networks import own_residual_network, vector_network

from aidge_quant.export.context import build_export
from aidge_quant.export.mve.kernels import KERNELS
from aidge_quant.export.mve.planes import ORDER, tap_groups
from aidge_quant.export.mve.windows import interleave
from aidge_quant.export.target import choose_kernels
from aidge_quant.integer import layers as il

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
    networks["own"] = own_residual_network(0)
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


def test_the_vector_networks_get_every_vector_kernel():
    networks = [vector_network(seed) for seed in VECTOR] + [fast_network(seed) for seed in FAST]
    exports = [build_export(network, "net", "cortex-m55") for network in networks]
    functions = {name for export in exports for name in export.program.kernels}
    expected = (
        *("conv_s8", "conv_s8_channel", "conv_s8_residual", "conv_s8_residual_by_channel"),
        *("conv_s8_cap", "conv_s8_odd", "conv_s8_s16_odd", "conv_s8_s16_cap_odd"),
        *("conv_s8_s32_odd", "depthwise_conv_s8", "depthwise_conv_s8_channel"),
        *("depthwise_conv_s8_pairs", "depthwise_conv_s8_pairs_line8", "depthwise_conv_s8_cap"),
        *("add_s8", "add_s8_wide", "rescale_s8", "avg_pool_s8", "avg_pool_s8_mean"),
    )
    assert {f"net_mve_{name}" for name in expected} - functions == set()


def test_layers_without_a_vector_kernel_keep_the_others():
    network = small_network("depthwise_dilated")
    assert choose_kernels(network, "cortex-m55") == {}
    templates = {
        kernel.template
        for seed in FAST
        for kernel in build_export(fast_network(seed), "net", "cortex-m55").program.kernels.values()
    }
    assert "dsp/depthwise_conv" in templates
    assert set(KERNELS) >= {il.Convolution, il.FullyConnected, il.DepthwiseConvolution}


def test_the_vector_networks_run_in_place_somewhere():
    plans = [build_export(vector_network(seed), "net", "cortex-m55").plan for seed in VECTOR]
    assert any(plan.overlaps.distances for plan in plans)
    assert any(plan.overlaps.same for plan in plans)


def test_an_output_keeps_off_its_input_where_that_is_the_residual_too():
    network = own_residual_network(0)
    plan = build_export(network, "net", "cortex-m55").plan
    middle = network.layers[1]
    names = (middle.output, middle.inputs[0])
    written, read = (
        value.index for name in names for value in plan.values if name in value.tensors
    )
    assert (written, read) not in plan.overlaps.distances
    assert plan.overlaps.same == set()


def test_weights_are_in_vectors_of_16_taps_of_four_channels():
    weight = np.arange(-60, 60, dtype=np.int8).reshape(6, 20)
    vectors = interleave(weight)
    assert vectors.shape == (2, 2, 4, 16)
    for (four, step, channel, tap), value in np.ndenumerate(vectors):
        out, at = 4 * four + channel, 16 * step + tap
        assert value == (weight[out, at] if out < 6 and at < 20 else 0)


def test_the_order_of_widened_sums_comes_together_again():
    even, odd = np.arange(0, 16, 2), np.arange(1, 16, 2)
    parts = (even[::2], even[1::2], odd[::2], odd[1::2])
    assert ORDER.tolist() == np.concatenate(parts).tolist()


def test_three_taps_are_added_in_16_bits_only_if_they_fit():
    weight = np.full((3, 3, 5), 85, np.int8)
    assert tap_groups(weight) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    weight[1, 1, 4] = -86
    assert tap_groups(weight) == [[0, 1], [2, 3], [4, 5], [6, 7], [8]]
    for size, largest in ((3, 85), (2, 127)):
        assert size * largest * 128 <= 32767


@pytest.mark.parametrize("name", slower(HOST_BUILDS, ["gcc-O2"]))
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
