"""The C of every target computes what the golden model does, on every machine."""

import numpy as np
import pytest
from c_builds import QEMU_BUILDS, build_named, slower
from export_cases import Job, differing, export_all, random_networks
from fast_networks import depthwise_network, fast_network, heavy_network, mixed_network
from small_networks import SMALL_NETWORKS, small_network

from aidge_quant.errors import ExportError
from aidge_quant.export import export_c, read_metadata
from aidge_quant.export.context import build_export
from aidge_quant.export.dsp.kernels import KERNELS
from aidge_quant.export.dsp.weights import form_of, interleave, pack_nibbles
from aidge_quant.export.target import TARGETS, choose_kernels
from aidge_quant.integer import layers as il

FAST = range(24)
MORE = range(24, 64)
MIXED = range(16)
QUICK_QEMU_BUILDS = ("qemu-cortex-m0", "qemu-cortex-m3", "qemu-cortex-m4", "qemu-rv32imc")
HOST_BUILDS = ("gcc-sanitized", "gcc-O2", "gcc-m32", "clang-O2")


@pytest.fixture(scope="module")
def fast_jobs(tmp_path_factory) -> list[Job]:
    networks = {f"f{seed}": fast_network(seed) for seed in FAST}
    networks |= {f"h{seed}": heavy_network(seed) for seed in range(2)}
    networks |= {f"m{seed}": mixed_network(seed) for seed in MIXED}
    networks |= {"d0": depthwise_network(0)}
    return export_all(tmp_path_factory.mktemp("fast"), networks, target="cortex-m4")


@pytest.fixture(scope="module")
def more_jobs(tmp_path_factory) -> list[Job]:
    networks = {f"f{seed}": fast_network(seed) for seed in MORE}
    networks |= {f"m{seed}": mixed_network(seed) for seed in MORE}
    return export_all(tmp_path_factory.mktemp("more"), networks, target="cortex-m4")


@pytest.fixture(scope="module")
def other_jobs(tmp_path_factory) -> list[Job]:
    networks = {f"small_{name}": small_network(name) for name in SMALL_NETWORKS}
    networks |= {f"n{i}": network for i, network in enumerate(random_networks(40))}
    return export_all(tmp_path_factory.mktemp("other"), networks, target="cortex-m4")


def test_every_layer_of_the_fast_networks_gets_a_fast_kernel():
    networks = [fast_network(seed) for seed in (*FAST, *MORE)]
    for network in networks + [mixed_network(seed) for seed in (*MIXED, *MORE)]:
        assert set(choose_kernels(network, "cortex-m4")) == {x.name for x in network.layers}
    kinds = {type(layer) for seed in FAST for layer in fast_network(seed).layers}
    assert kinds == set(KERNELS)


def test_the_heavy_networks_need_wide_sums_and_the_others_do_not():
    kinds = (il.Convolution, il.FullyConnected)
    for seed in FAST:
        network = fast_network(seed)
        layers = [x for x in network.layers if isinstance(x, kinds)]
        assert {form_of(layer, network) for layer in layers} == {"narrow"}
    network = heavy_network(0)
    assert {form_of(layer, network) for layer in network.layers} == {"wide"}


def test_the_mixed_networks_have_every_form_with_both_types_of_inputs():
    found = set()
    for seed in MIXED:
        network = mixed_network(seed)
        for layer in network.layers:
            if not isinstance(layer, il.DepthwiseConvolution):
                bits = network.tensor(layer.inputs[0]).dtype.bits
                found.add((form_of(layer, network), bits))
    assert found == {("narrow", 8), ("int4", 8), ("int4", 16), ("wide", 16)}


def test_the_fast_networks_run_in_place_somewhere():
    plans = [build_export(fast_network(seed), "net", "cortex-m4").plan for seed in FAST]
    assert any(distance > 0 for plan in plans for distance in plan.overlaps.distances.values())
    assert any(plan.overlaps.same for plan in plans)


@pytest.mark.parametrize("name", slower(HOST_BUILDS, ["gcc-O2"]))
def test_fast_kernels_in_plain_c_equal_the_golden_model(fast_jobs, name):
    assert differing(fast_jobs, build_named(name)) == {}


@pytest.mark.qemu
@pytest.mark.parametrize("name", slower(QUICK_QEMU_BUILDS, ["qemu-cortex-m4"]))
def test_fast_kernels_on_a_microcontroller_equal_the_golden_model(fast_jobs, name):
    assert differing(fast_jobs, build_named(name)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gcc-sanitized"])
def test_all_networks_for_a_cortex_m4_equal_the_golden_model_elsewhere(more_jobs, other_jobs, name):
    assert differing(more_jobs + other_jobs, build_named(name)) == {}


@pytest.mark.qemu
@pytest.mark.slow
@pytest.mark.parametrize("name", QEMU_BUILDS)
def test_all_networks_for_a_cortex_m4_equal_the_golden_model(
    fast_jobs, more_jobs, other_jobs, name
):
    # In several programs: all of them do not fit into the code memory of the emulated Cortex-M55.
    jobs = fast_jobs + more_jobs + other_jobs
    for first in range(0, len(jobs), 64):
        assert differing(jobs[first : first + 64], build_named(name)) == {}


@pytest.mark.parametrize("target", TARGETS)
def test_the_target_is_recorded(tmp_path, target):
    folder = export_c(small_network("conv"), tmp_path / "out", name="net", target=target)
    assert read_metadata(folder)["target"] == target


def test_an_unknown_target_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ExportError, match="'cortex-m9', expected one of generic, cortex-m0"):
        export_c(small_network("conv"), tmp_path / "out", name="net", target="cortex-m9")
    assert list(tmp_path.iterdir()) == []


def test_layers_with_other_types_keep_the_portable_kernels():
    for name in ("conv_weights16", "conv_grouped", "conv_scale_even"):
        assert choose_kernels(small_network(name), "cortex-m4") == {}


@pytest.mark.parametrize("wide", [False, True])
def test_words_hold_two_taps_of_two_channels(wide):
    weight = np.int8([[1, -2, 3, -4, 5], [-6, 7, -8, 9, 127], [-127, 1, 0, -1, 2]])
    words = interleave(weight, wide)
    assert words.shape == (2, 4)
    padded = np.zeros((4, 8), int)
    padded[:3, :5], padded[3] = weight, padded[2]
    padded[3, :5] = weight[2]
    for pair in range(2):
        for word in range(4):
            first, second = padded[2 * pair], padded[2 * pair + 1]
            tap = 4 * (word // 2) + word % 2
            for half, at in enumerate((tap, tap + 2)):
                bits = (int(words[pair, word]) >> (16 * half)) & 0xFFFF
                expected = 256 * second[at] + ((first[at] & 255) if wide else first[at])
                assert bits == expected & 0xFFFF


def test_words_of_4_bits_hold_four_taps_of_two_channels():
    weight = np.int8([[1, -2, 3, -4], [-6, 7, -8, 5]])
    words = pack_nibbles(interleave(weight, True))
    assert words.shape == (1, 1)
    nibbles = [((int(words[0, 0]) >> 4 * i) + 8 & 15) - 8 for i in range(8)]
    # First and second channel, each the tap of the second word before that of the first.
    assert nibbles == [-2, 1, 7, -6, -4, 3, 5, -8]
