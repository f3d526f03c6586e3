"""Fixed-point formats from a float network to integers: nothing is lost on the way."""

import networks
import numpy as np
import pytest
import trained_networks as nets

import aidge_quant as aq
from aidge_quant import fixed_point
from aidge_quant.dtypes import dtype
from aidge_quant.errors import DataError, GraphError, UnsupportedError
from aidge_quant.executor import run
from aidge_quant.ops import BiasQuantizer, FixedQ, Producer, Quantizer, Softmax, producer
from aidge_quant.training import SGD, fit, parameters

X, Y = nets.samples(120)
NETS = {
    "chain": nets.chain,
    "residual": nets.residual,
    "concat": nets.concat,
    "linear": nets.linear_bottleneck,
}


def trained(name, bits=4, epochs=2, **options):
    graph = NETS[name]()
    fixed_point.setup_quantizers(graph, bits, X, **options)
    fit(graph, (X, Y), epochs=epochs, batch_size=20, optimizer=SGD(0.02))
    return graph


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("true_integers", [False, True])
def test_the_integer_network_and_its_c_compute_what_was_trained(
    name, bits, true_integers, tmp_path
):
    graph = trained(name, bits)
    fake = run(graph, X)
    fixed_point.post_training_transform(graph, true_integers)
    network = aq.lower(graph)
    q = network.quantize_input(X)
    out = network.run(q)
    np.testing.assert_array_equal(network.dequantize_output(out), fake)
    np.testing.assert_array_equal(run(graph, X), out)
    forms = [getattr(layer, "requantization", None) for layer in network.layers]
    assert all(form is None or form.multiplier is None for form in forms)
    if true_integers and bits == 4:
        aq.export_c(network, tmp_path / "c", name="fixed", test_inputs=q[:4])
        check = aq.verify_c(tmp_path / "c", network, q)
        assert check.identical == check.total


@pytest.mark.parametrize("name", ["resnet", "dwsep", "mbv2r"])
def test_reference_networks_lose_nothing_after_training(name):
    samples = networks.NETWORKS[name].samples()
    graph = aq.load_onnx(networks.NETWORKS[name].file())
    plain = run(graph, samples.test)
    fixed_point.setup_quantizers(graph, 8, samples.calibration)
    fake = run(graph, samples.test)
    assert (fake.argmax(axis=1) == plain.argmax(axis=1)).mean() > 0.95
    fixed_point.post_training_transform(graph, True)
    network = aq.lower(graph)
    real = network.dequantize_output(network.run(network.quantize_input(samples.test)))
    np.testing.assert_array_equal(real, fake)


def test_every_format_is_a_power_of_two_and_fits_its_values():
    graph = trained("residual", 8, epochs=1)
    found = {n.name: n for n in graph.nodes if isinstance(n.operator, FixedQ)}
    assert {"conv_fixed_i", "conv_fixed_p", "inner_fixed_p", "add_fixed"} <= set(found)
    for node in found.values():
        assert np.frexp(node.operator.span)[0] == 0.5
        assert node.operator.half_up
    assert found["add_fixed"].operator.is_output_unsigned
    assert not found["conv_fixed_i"].operator.is_output_unsigned
    biases = [n for n in graph.nodes if isinstance(n.operator, BiasQuantizer)]
    assert len(biases) == 4
    trainable = {parameter.name for parameter in parameters(graph)}
    steps = [p.node for n in biases for p in n.inputs[1:]]
    assert steps
    assert not trainable & {node.name for node in steps}


def test_spans_have_the_least_error():
    graph = nets.chain()
    fixed_point.setup_quantizers(graph, 3, X)
    for layer in ("conv", "inner", "fc"):
        node = graph.node(f"{layer}_fixed_p")
        weight = node.input(0).node.operator.value
        errors = {}
        for exponent in range(-6, 4):
            operator = FixedQ(3, 2.0**exponent, half_up=True)
            rounded = operator.forward(weight)
            if rounded.min() > operator.range[0] * operator.step:
                errors[2.0**exponent] = float(((rounded - weight) ** 2).sum())
        assert node.operator.span == min(errors, key=errors.get)


def test_bits_of_layers():
    graph = nets.residual()
    options = {"activation_bits": 5, "first_bits": 8, "layer_bits": {"inner": aq.LayerBits(3, 6)}}
    fixed_point.setup_quantizers(graph, 2, X, **options)
    bits = {n.name: n.operator.nb_bits for n in graph.nodes if isinstance(n.operator, FixedQ)}
    assert bits["conv_fixed_i"] == bits["conv_fixed_p"] == 8
    assert (bits["inner_fixed_i"], bits["inner_fixed_p"]) == (6, 3)
    assert (bits["fc_fixed_i"], bits["fc_fixed_p"]) == (5, 2)
    with pytest.raises(DataError, match="joined_bits: 9"):
        fixed_point.setup_quantizers(nets.chain(), 4, X, joined_bits=9)


def test_types_are_small():
    graph = trained("chain", 4)
    fixed_point.post_training_transform(graph, True)
    kinds = {
        n.name: n.operator.element_type for n in graph.nodes if isinstance(n.operator, Producer)
    }
    assert kinds["inner_w_int"] in (dtype.int4, dtype.int8)  # int8 where training reached -8
    assert kinds["inner_b_int"] is dtype.int32
    quantizers = [n.operator for n in graph.nodes if isinstance(n.operator, Quantizer)]
    assert sum(op.shift is None for op in quantizers) <= 1  # that of the input


def test_what_has_no_format_is_refused_and_stays():
    graph = nets.chain()
    before = str(graph)
    with pytest.raises(DataError, match="are NaN or infinite"):
        fixed_point.setup_quantizers(graph, 4, np.full_like(X, np.inf))
    with pytest.raises(GraphError, match="so no span follows from it"):
        fixed_point.setup_quantizers(graph, 4, np.zeros_like(X))
    weight = graph.node("inner_w")
    kept = weight.operator
    weight.operator = producer(np.zeros_like(kept.value))
    with pytest.raises(GraphError, match="inner: the largest magnitude"):
        fixed_point.setup_quantizers(graph, 4, X)
    weight.operator = kept
    assert str(graph) == before
    soft = nets.chain()
    soft.insert_after(soft.node("flatten"), Softmax(), "inside")
    with pytest.raises(UnsupportedError, match="has no integer form"):
        fixed_point.setup_quantizers(soft, 4, X)
    fixed_point.setup_quantizers(graph, 4, X)
    with pytest.raises(GraphError, match="without quantizers"):
        fixed_point.setup_quantizers(graph, 4, X)
