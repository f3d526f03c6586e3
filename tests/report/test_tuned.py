"""The analysis of networks that our own recipe made."""

import float_networks
import numpy as np
import pytest
from float_networks import Net, samples
from graph_cases import CASES
from networks import NETWORKS
from quantized_pairs import change, quantized

import aidge_quant as aq
from aidge_quant.graph import Annotation
from aidge_quant.ops import FC, Add, Concat
from aidge_quant.ptq.flow import is_affine

JOINING = (
    "residual_of_two_layers",
    "shortcut_without_parameters",
    "gate",
    "two_inputs_and_outputs",
)


def batch(graph, count=40, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {node.name: node.operator.shape[1:] for node in graph.inputs}
    values = {name: rng.uniform(-1, 1, (count, *shape)) for name, shape in shapes.items()}
    return {name: array.astype(np.float32) for name, array in values.items()}


def tuned(graph, x, **options):
    return aq.quantize(graph, x, effort="fast", **options)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("name", [*float_networks.NETWORKS, *(f"case {name}" for name in JOINING)])
def test_every_layer_is_close_to_its_float_node(name, per_channel):
    graph = (CASES[name[5:]] if name.startswith("case") else float_networks.NETWORKS[name])()
    x = batch(graph)
    result = tuned(graph, x, per_channel=per_channel)
    analysis = aq.analyze(graph, result.graph, x, calibration=x)
    assert {row.layer for row in analysis.rows} >= {n.name for n in graph.nodes if is_affine(n)}
    assert min(row.alone_db for row in analysis.rows) > 25
    assert min(row.accumulated_db for row in analysis.rows) > 25
    assert all(row.advice == "" for row in analysis.rows)
    assert all("Softmax" in warning for warning in analysis.warnings)


def test_equalized_channels_are_compared_in_the_units_of_the_float_network():
    graph = float_networks.depthwise(imbalance=50)
    x = samples(graph, 64)
    result = tuned(graph, x, per_channel=False)
    assert any(Annotation.CHANNEL_FACTORS in node.annotations for node in result.graph.nodes)
    with_factors, without = (aq.analyze(graph, q, x) for q in (result.graph, result.network))
    assert min(row.accumulated_db for row in with_factors.rows) > 25
    assert min(row.accumulated_db for row in without.rows) < 5


def test_a_wrong_layer_ranks_first():
    graph = float_networks.residual()
    x = samples(graph, 64)
    copy = tuned(graph, x).graph
    change(copy, "conv2_w", lambda value: value // 2)
    analysis = aq.analyze(graph, copy, x)
    assert analysis.rows[0].layer == "conv2"
    assert analysis.rows[0].alone_db < 20
    assert all(row.alone_db > 25 for row in analysis.rows[1:])


def test_advice_names_the_options_of_the_recipe():
    net = Net((3,))
    weight = np.array([[60.0, 0, 0], [0, 0.9, 0.4], [0, 0.3, -0.8]])
    net.add(FC(), "fc", net.last, net.constant(weight, "w"))
    net.add(FC(), "end", net.last, net.constant(np.eye(3), "v"))
    graph = net.done()
    x = np.random.default_rng(0).uniform(-1, 1, (200, 3)).astype(np.float32)
    x *= np.float32([0.001, 1, 1])
    result = tuned(graph, x, per_channel=False, weight_bits=4)
    advice = {row.layer: row.advice for row in aq.analyze(graph, result.graph, x).rows}
    assert "per_channel=True" in advice["fc"]
    assert "channel_wise" not in advice["fc"]


def branches(join) -> aq.GraphView:
    """Two layers, the values of one far larger than those of the other, and what joins them."""
    net = Net((4,))
    start = net.last
    for name, factor in (("large", 8.0), ("small", 0.5)):
        weight = net.random.normal(0, factor, (5, 4))
        net.add(FC(), name, start, net.constant(weight, f"{name}_w"))
    net.add(join, "join", net.graph.node("large"), net.graph.node("small"))
    return net.done()


@pytest.mark.parametrize(("join", "shared"), [(Add(), False), (Concat(1), True)])
def test_only_a_concat_wants_one_scale(join, shared):
    graph = branches(join)
    x = batch(graph, 100)
    rows = {row.layer: row for row in aq.analyze(graph, tuned(graph, x).graph, x).rows}
    assert (rows["small"].unused_bits > 1) == shared
    assert ("because join (Concat) wants all its inputs" in rows["small"].advice) == shared


def test_what_the_recipe_cuts_off_at_the_input_is_no_trouble():
    graph = float_networks.chain()
    x = samples(graph, 64)
    x[0, 0, 0, 0] *= 1.15
    copy = tuned(graph, x).graph
    assert aq.analyze(graph, copy, 0.9 * x).warnings == ()
    (warning,) = aq.analyze(graph, copy, 2 * x).warnings
    assert "of the sample values lie beyond" in warning
    assert "input_range" not in warning


def test_room_in_sixteen_bits_is_no_trouble_and_fused_sums_are_compared():
    graph = float_networks.residual()
    x = batch(graph, 64)["input"]
    result = tuned(graph, x, activation_bits=16)
    analysis = aq.analyze(graph, result.graph, np.float32(0.3) * x)
    (fused,) = (layer for layer in result.network.layers if "add1" in layer.source)
    assert fused.name == "conv2"
    assert min(row.alone_db for row in analysis.rows) > 35
    assert max(row.unused_bits or 0 for row in analysis.rows) > 1
    assert [row.advice for row in analysis.rows if row.advice] == []
    assert analysis.warnings == ()


def test_progress_is_told_after_every_batch():
    graph = float_networks.chain()
    x = samples(graph, 20)
    told = []
    aq.analyze(
        graph, tuned(graph, x).graph, x, batch_size=8, progress=lambda *args: told.append(args)
    )
    assert told == [("comparing layers", share) for share in (0.4, 0.8, 1.0)]


@pytest.mark.slow
def test_a_real_network_that_collapses_is_called_collapsed():
    graph = aq.load_onnx(NETWORKS["mobilenetv1_025"].file())
    data = NETWORKS["mobilenetv1_025"].samples()
    x, calibration = data.test[:100], data.calibration[:32]
    published = aq.analyze(graph, quantized(graph, calibration), x, calibration=calibration)
    assert published.agreement < 0.1
    assert any("collapses to one class" in warning for warning in published.warnings)
    assert "channel_wise=True" in published.rows[0].advice
    better = aq.analyze(graph, tuned(graph, calibration).graph, x, calibration=calibration)
    assert better.agreement > 0.7
    assert not any("collapses" in warning for warning in better.warnings)
