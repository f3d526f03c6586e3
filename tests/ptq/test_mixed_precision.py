"""Types by role, by node and by layer: integers of the graph, the golden model and the C agree."""

import numpy as np
import pytest
from float_networks import NETWORKS, Net, chain, concat, functions, residual, samples
from networks import NETWORKS as TRAINED

import aidge_quant as aq
from aidge_quant.dtypes import dtype
from aidge_quant.errors import UnsupportedError
from aidge_quant.graph import Annotation, GraphView
from aidge_quant.ops import Mul, ReLU
from aidge_quant.ptq import auto_assign_node_precision, quantize_network
from aidge_quant.ptq.flow import is_affine

PRECISION = Annotation.PRECISION

#: Activations and weights.
MIXTURES = {
    "W8A8": (dtype.int8, dtype.int8),
    "W4A8": (dtype.int8, dtype.int4),
    "W16A8": (dtype.int8, dtype.int16),
    "W8A16": (dtype.int16, dtype.int8),
    "W16A16": (dtype.int16, dtype.int16),
    "W4A16": (dtype.int16, dtype.int4),
}

FORMS = {
    "shift": {"single_shift": True},
    "multiplier": {},
    "shift, channels, signs": {
        "single_shift": True,
        "channel_wise": True,
        "optimize_signs": True,
    },
    "channels, signs": {"channel_wise": True, "optimize_signs": True},
}

#: Small networks whose every layer handles int16; a function is a table of int8, and the product
#: of two int16 leaves no room for a single shift.
SMALL = ("chain", "residual", "depthwise", "concat", "relu6")


def quantized(graph: GraphView, x: np.ndarray, mixture: str = "W8A8", **options) -> GraphView:
    activation, weight = MIXTURES[mixture]
    auto_assign_node_precision(graph, activation, weight, dtype.int32)
    quantize_network(graph, x, **options)
    return graph


def agreed(graph: GraphView, x: np.ndarray, folder=None) -> aq.integer.network.IntegerNetwork:
    """Lower, require graph, golden model and, with a folder, C to agree; return the network."""
    network = aq.lower(graph)
    q = network.quantize_input(x)
    assert np.array_equal(network.run(q), aq.run(graph, q))
    if folder is not None:
        aq.export_c(network, folder, name="net", test_inputs=q[:2])
        check = aq.verify_c(folder, network, q)
        assert check.identical == check.total > 0
    return network


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("name", SMALL)
def test_every_mixture_is_the_same_in_graph_and_golden_model(name, mixture, form):
    graph = NETWORKS[name]()
    x = samples(graph, 16)
    agreed(quantized(graph, x, mixture, **FORMS[form]), x)


@pytest.mark.parametrize("form", ["shift", "channels, signs"])
@pytest.mark.parametrize("mixture", MIXTURES)
def test_every_mixture_is_the_same_in_c(mixture, form, tmp_path):
    graph = residual()
    x = samples(graph, 8)
    agreed(quantized(graph, x, mixture, **FORMS[form]), x, tmp_path / "net")


@pytest.mark.parametrize("mixture", sorted(set(MIXTURES) - {"W8A8"}))
@pytest.mark.parametrize("name", ["resnet8_cifar10", "dscnn_kws"])
def test_trained_networks_of_every_mixture_are_the_same_in_c(name, mixture, tmp_path):
    data = TRAINED[name].samples()
    graph = aq.load_onnx(TRAINED[name].file())
    quantized(graph, data.calibration[:32], mixture, **FORMS["shift, channels, signs"])
    agreed(graph, data.test[:4], tmp_path / "net")


def test_the_stored_types_are_those_of_the_mixture():
    graph = chain()
    network = agreed(quantized(graph, samples(graph), "W4A16"), samples(graph))
    weights = [layer for layer in network.layers if hasattr(layer, "weight")]
    assert {layer.weight_dtype for layer in weights} == {dtype.int4}
    assert {tensor.dtype for tensor in network.tensors} == {dtype.int16}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("form", FORMS)
def test_any_mixture_by_layer_agrees(form, seed, tmp_path):
    graph = residual()
    random = np.random.default_rng(seed)
    for node in graph.nodes:
        if is_affine(node) or node.type in ("Add", "Input"):
            node.annotations[PRECISION] = random.choice([dtype.int8, dtype.int16])
        if node.name.endswith("_w"):
            node.annotations[PRECISION] = random.choice([dtype.int4, dtype.int8, dtype.int16])
    x = samples(graph, 16)
    folder = None if seed else tmp_path / "net"  # C of one of them: each costs a compilation
    network = agreed(quantized(graph, x, **FORMS[form]), x, folder)
    assert len({tensor.dtype for tensor in network.tensors}) == 2


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mixture", MIXTURES)
def test_real_values_go_in_and_come_out_of_every_mixture(mixture, form):
    graph = residual()
    x = samples(graph, 16)
    expected = aq.run(residual(), x)
    quantized(graph, x, mixture, rescale_inputs=True, dequantize=True, **FORMS[form])
    network = aq.lower(graph)
    golden = network.dequantize_output(network.run(network.quantize_input(x)))
    found = aq.run(graph, x)
    assert np.array_equal(found, golden.astype(np.float32))
    least = 10 if mixture.startswith("W4") else 28
    assert 10 * np.log10(np.square(expected).sum() / np.square(found - expected).sum()) > least


def test_one_tensor_and_one_weight_may_differ_in_c(tmp_path):
    graph = chain()
    graph.node("conv1").annotations[PRECISION] = dtype.int16
    graph.node("fc_w").annotations[PRECISION] = dtype.int4
    x = samples(graph)
    network = agreed(quantized(graph, x, single_shift=True), x, tmp_path / "net")
    types = [tensor.dtype for tensor in network.tensors]
    assert types == [dtype.int8, dtype.int16, dtype.int16, dtype.int8, dtype.int8]
    assert network.layers[-1].weight_dtype is dtype.int4


@pytest.mark.parametrize(("make", "name"), [(residual, "conv2"), (concat, "wide")])
def test_operands_of_one_sum_take_the_widest_type(make, name, caplog):
    graph = make()
    graph.node(name).annotations[PRECISION] = dtype.int16
    x = samples(graph)
    with caplog.at_level("INFO", "aidge_quant"):
        quantized(graph, x)
    assert "int16 instead of int8" in caplog.text
    agreed(graph, x)


def test_factors_of_one_product_take_the_widest_type():
    net = Net((2, 4, 4))
    start = net.graph.inputs[0]
    first, second = (net.conv(name, (2, 3), source=start) for name in ("first", "second"))
    net.add(Mul(), "product", first, second)
    graph = net.done()
    graph.node("first").annotations[PRECISION] = dtype.int16
    x = samples(graph)
    quantized(graph, x)
    assert graph.node("second_Scaling").annotations[PRECISION] is dtype.int16
    agreed(graph, x)


def test_wide_functions_are_refused_by_name_and_narrow_ones_fit_into_wide_networks():
    graph = functions()
    x = samples(graph)
    with pytest.raises(UnsupportedError, match=r"conv1_Scaling int16 at leaky.*int8"):
        quantized(graph, x, "W8A16")
    quantized(functions(), x, "W8A16", fake_quantize=True)
    for name in ("conv1", "leaky", "conv2", "sigmoid", "tanh"):
        graph.node(name).annotations[PRECISION] = dtype.int8
    network = agreed(quantized(graph, x, "W8A16"), x)
    assert {tensor.dtype for tensor in network.tensors} == {dtype.int8, dtype.int16}


@pytest.mark.parametrize("form", FORMS)
def test_int32_outputs_are_the_accumulators(form, tmp_path):
    graph = chain()
    x = samples(graph, 32)
    expected = aq.run(graph, x)
    graph.node("fc").annotations[PRECISION] = dtype.int32
    quantized(graph, x, **FORMS[form])
    assert np.max(graph.node("fc_Scaling").operator.scale) == 1
    network = agreed(graph, x, tmp_path / "net")
    assert network.tensor(network.outputs[0]).dtype is dtype.int32
    found = network.dequantize_output(network.run(network.quantize_input(x)))
    noise = np.square(found - expected).sum()
    assert 10 * np.log10(np.square(expected).sum() / noise) > 32


def test_int32_outputs_of_all_channels_compare():
    graph = chain()
    x = samples(graph, 32)
    graph.node("fc_w").operator.value[0] *= 1e-3
    graph.node("fc").annotations[PRECISION] = dtype.int32
    network = aq.lower(quantized(graph, x, channel_wise=True))
    assert np.ndim(network.tensor(network.outputs[0]).scale) == 0


def test_int32_outputs_serve_their_relu():
    net = Net((4,))
    net.fc("fc", (4, 3))
    net.add(ReLU(), "relu")
    graph = net.done()
    graph.node("fc").annotations[PRECISION] = dtype.int32
    x = samples(graph)
    network = agreed(quantized(graph, x), x)
    assert network.run(network.quantize_input(x)).min() == 0


def test_int32_is_for_outputs_of_affine_nodes_only():
    graph = chain()
    graph.node("conv1").annotations[PRECISION] = dtype.int32
    with pytest.raises(UnsupportedError, match=r"conv1_Scaling.*int32.*pool"):
        quantized(graph, samples(graph))
    graph = residual()
    graph.node("add2").annotations[PRECISION] = dtype.int32
    with pytest.raises(UnsupportedError, match=r"add2_Scaling.*int32"):
        quantized(graph, samples(graph))
    graph = chain()
    graph.inputs[0].annotations[PRECISION] = dtype.int32
    with pytest.raises(UnsupportedError, match=r"input.*int32"):
        quantized(graph, samples(graph))


@pytest.mark.parametrize(("name", "found"), [("conv1_w", dtype.int32), ("conv1_b", dtype.int16)])
def test_parameter_types_that_no_layer_has_are_refused_by_name(name, found):
    graph = chain()
    graph.node(name).annotations[PRECISION] = found
    with pytest.raises(UnsupportedError, match=f"{name}.*{found.value}.*expected"):
        quantized(graph, samples(graph))


@pytest.mark.parametrize("name", ["chain", "residual", "depthwise"])
def test_wide_sums_leave_room_in_the_accumulator(name):
    graph = NETWORKS[name]()
    for node in graph.nodes:
        if node.name.endswith("_b"):
            node.operator.value[:] *= 100
    x = samples(graph)
    agreed(quantized(graph, x, "W16A16", single_shift=True), x)
