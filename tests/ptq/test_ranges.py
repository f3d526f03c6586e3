"""Activation ranges and their clipping."""

import logging

import numpy as np
import pytest
from float_networks import NETWORKS, Net, chain, samples
from ptq_steps import annotated

from aidge_quant.errors import DataError
from aidge_quant.executor import run
from aidge_quant.ops import ReLU
from aidge_quant.ptq import (
    Clipping,
    adjust_ranges,
    compute_ranges,
    insert_scaling_nodes,
    quantize_network,
)
from aidge_quant.ptq.clipping import BINS, _divergence, _power_loss, best_clipping


def test_ranges_are_taken_before_the_relu():
    net = Net((2,))
    net.fc("fc", (2, 1))
    net.add(ReLU(), "relu")
    graph = net.done()
    graph.node("fc_w").operator.value[:] = [[-1, 0]]
    graph.node("fc_b").operator.value[:] = 0
    insert_scaling_nodes(graph)
    ranges = compute_ranges(graph, np.float32([[0.5, 0], [0.75, 1]]), True)
    assert {node.name: r for node, r in ranges.items()} == {"fc_Scaling": 0.75}


def test_ranges_of_all_nodes_leave_out_producers_only():
    graph = chain()
    insert_scaling_nodes(graph)
    ranges = compute_ranges(graph, samples(graph), False)
    expected = [n for n in graph.topological() if n.type != "Producer"]
    expected = [n for n in expected if not n.name.endswith("_ProducerScaling")]
    assert list(ranges) == expected


def test_range_is_capped_by_the_clip_behind_it():
    graph = NETWORKS["relu6"]()
    insert_scaling_nodes(graph)
    x = 50 * samples(graph)
    ranges = {node.name: r for node, r in compute_ranges(graph, x, True).items()}
    assert ranges["conv0_Scaling"] == 6
    assert ranges["start_Scaling"] > 6


def test_clip_bounds_become_integers():
    graph = annotated(NETWORKS["relu6"]())
    quantize_network(graph, 50 * samples(graph))
    assert graph.node("clip0").operator.lower == 0
    assert graph.node("clip0").operator.upper == 127


@pytest.mark.parametrize("mode", [m for m in Clipping if m is not Clipping.MAX])
def test_clipping_of_heavy_tails_lies_inside_the_range(mode, caplog):
    graph = annotated(chain())
    insert_scaling_nodes(graph)
    x = samples(graph, 32) ** 9
    ranges = compute_ranges(graph, x, True)
    with caplog.at_level(logging.INFO, "aidge_quant"):
        found = adjust_ranges(mode, ranges, graph, x, True)
    assert list(found) == list(ranges)
    assert all(found[node] > 0 for node in found)
    assert "clipped at" in caplog.text


def test_max_returns_the_ranges_as_they_are():
    graph = chain()
    insert_scaling_nodes(graph)
    ranges = compute_ranges(graph, samples(graph), True)
    assert adjust_ranges(Clipping.MAX, ranges, graph, samples(graph)) == ranges


def test_sigma_is_a_multiple_of_the_root_mean_square():
    graph = annotated(chain())
    insert_scaling_nodes(graph)
    x = samples(graph)
    ranges = compute_ranges(graph, x, True)
    found = adjust_ranges(Clipping.SIGMA3, ranges, graph, x)
    node = graph.node("fc_Scaling")
    rms = float(np.sqrt(np.mean(run(graph, x).astype(np.float64) ** 2)))
    assert found[node] == pytest.approx(3 * rms, rel=1e-6)


@pytest.mark.parametrize("power", [1, 2])
def test_clipping_finds_the_least_error_by_plain_search(power):
    histogram = np.random.default_rng(5).integers(0, 50, BINS) // (1 + np.arange(BINS) // 40)
    x = (np.arange(BINS) + 0.5) / BINS
    errors = []
    for step in range(1, 100):
        c = step / 100
        quantized = np.floor(np.minimum(x, c) * 127 / c + 0.5) * c / 127
        errors.append(np.sum(histogram * np.abs(x - quantized) ** power))
    assert best_clipping(histogram, 127, _power_loss(power)) == (np.argmin(errors) + 1) / 100


def test_divergence_is_zero_when_every_bin_has_a_level_of_its_own():
    histogram = np.zeros(BINS, np.int64)
    histogram[[100, 1000, 4000]] = 7, 5, 3
    assert _divergence(histogram, 1.0, 127) == pytest.approx(0)
    assert _divergence(histogram, 0.5, 127) > 0


def test_clipping_mode_must_be_of_the_enumeration():
    with pytest.raises(DataError, match="clipping_mode"):
        adjust_ranges("MAX", {}, chain(), samples(chain()))


def test_divergence_ignores_the_exact_zeros_behind_a_relu():
    histogram = np.maximum(1000 - np.arange(BINS) // 4, 1)
    spiked = histogram.copy()
    spiked[0] = 10 * histogram.sum()
    for c in (0.25, 0.5, 0.99):
        assert _divergence(spiked, c, 127) == _divergence(histogram, c, 127)
