"""The trained networks in every form, engine and mode of quantization."""

import dataclasses

import numpy as np
import pytest
from networks import DIGITS, NETWORKS
from onnx_engines import ENGINES, ON_INT8, by_name, checked_model, golden, integers_of, real_inputs

import aidge_quant as aq
from aidge_quant.dtypes import dtype
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.interchange import fuse_qdq
from aidge_quant.interchange.integer.form import integer_graph
from aidge_quant.interchange.qdq.form import qdq_graph
from aidge_quant.interchange.qdq.sheet import QdqOptions

MODES = {
    "shift": {"single_shift": True},
    "shift-channels": {"single_shift": True, "channel_wise": True},
    "multiplier": {},
    "multiplier-channels": {"channel_wise": True},
}

#: How many inputs; the reference evaluator takes seconds for an image of a larger network.
INPUTS, FEWER_INPUTS = 200, 5


#: Parts of outputs that are equal at least where a multiplier for each channel is rounded to
#: float32, and a single step in a layer reaches many outputs; 98 % elsewhere. The reference, which
#: sums otherwise, has all of them equal for resnet20, ONNX Runtime 97.3 %.
LESS_EQUAL = {"mobilenetv1_025": 0.8, "mobilenetv1_025_bn": 0.8, "resnet20_cifar10": 0.95}
LESS_EQUAL |= {"resnet8_cifar10": 0.8, "resnet8_cifar10_bn": 0.8}


def part(q, count):
    return q[:count]


def lowered(name, mode):
    network = NETWORKS[name]
    samples = network.samples()
    graph = aq.load_onnx(network.file())
    aq.auto_assign_node_precision(graph, aq.dtype.int8, aq.dtype.int8, aq.dtype.int32)
    aq.quantize_network(graph, samples.calibration[:32], **MODES[mode])
    integers = aq.lower(graph)
    return graph, integers, integers.quantize_input(samples.test[:INPUTS])


def agreement(found, expected):
    """Return the part of equal integers, and of equal places of the largest."""
    (values,), (wanted,) = found.values(), expected.values()
    rows = values.reshape(len(values), -1).argmax(1) == wanted.reshape(len(wanted), -1).argmax(1)
    return (values == wanted).mean(), rows.mean()


def counts(engine, name):
    return FEWER_INPUTS if engine == "onnx.reference" and name not in DIGITS else INPUTS


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_form_computes_what_the_golden_model_computes(name, mode):
    graph, network, q = lowered(name, mode)
    names = network.input_names
    integer = checked_model(integer_graph(network), 13)
    expected = golden(network, q)
    for engine, run in ENGINES.items():
        count = counts(engine, name)
        found = run(integer, by_name(names, part(q, count)))
        for output, values in expected.items():
            np.testing.assert_array_equal(found[output], values[:count], err_msg=engine)
    equal, same = 1.0, 1.0
    if "multiplier" in mode:
        equal, same = 0.98, 0.995
        if "channels" in mode:
            equal = LESS_EQUAL.get(name, equal)
    qdq = qdq_graph(network, QdqOptions())
    qop = qdq_graph(network, QdqOptions(integer_products=True))
    fuse_qdq(qop, contrib=True)
    for form, made, opset in (("qdq", qdq, 21), ("qop", qop, 17)):
        model = checked_model(made, opset)
        # The reference has no operators of com.microsoft.
        for engine, run in (ON_INT8 if form == "qop" else ENGINES).items():
            count = counts(engine, name)
            found = integers_of(network, run(model, real_inputs(network, part(q, count))))
            wanted = {key: values[:count] for key, values in expected.items()}
            figures = agreement(found, wanted)
            assert figures[0] >= equal, (form, engine, figures)
            assert figures[1] >= same, (form, engine, figures)
    aq.set_to_qdq(graph)
    aq.from_qdq(graph)
    again = golden(aq.lower(graph), q)
    for output, values in expected.items():
        np.testing.assert_array_equal(again[output], values)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet8_cifar10", "dscnn_kws", "mbv2r", "mnist_cntk"])
def test_networks_of_the_recipe_in_every_form(name):
    samples = NETWORKS[name].samples()
    result = aq.quantize(NETWORKS[name].file(), samples.calibration[:64], effort="fast")
    network, graph = result.network, result.graph
    q = network.quantize_input(samples.test[:INPUTS])
    expected = golden(network, q)
    integer = checked_model(integer_graph(network), 13)
    qdq = checked_model(qdq_graph(network, QdqOptions()), 21)
    for engine in ("onnxruntime", "onnxruntime optimized"):
        found = ENGINES[engine](integer, by_name(network.input_names, q))
        real = integers_of(network, ENGINES[engine](qdq, real_inputs(network, q)))
        for output, values in expected.items():
            np.testing.assert_array_equal(found[output], values, err_msg=engine)
            np.testing.assert_array_equal(real[output], values, err_msg=engine)
    aq.set_to_qdq(graph)
    aq.from_qdq(graph)
    again = golden(aq.lower(graph), q)
    for output, values in expected.items():
        np.testing.assert_array_equal(again[output], values)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet8_cifar10", "dscnn_kws", "resnet"])
def test_half_even_networks_equal_every_engine(name):
    graph, _, q = lowered(name, "shift")
    network = aq.lower(graph, rounding="half_even")
    expected = golden(network, q)
    qdq = qdq_graph(network, QdqOptions())
    qop = qdq.clone()
    fuse_qdq(qop)
    for made, opset, engines in ((qdq, 21, ENGINES), (qop, 17, ON_INT8)):
        model = checked_model(made, opset)
        for engine in ("onnxruntime", "onnxruntime optimized"):
            found = integers_of(network, engines[engine](model, real_inputs(network, q)))
            for output, values in expected.items():
                np.testing.assert_array_equal(found[output], values, err_msg=engine)


def single_layer(network, layer, **changes):
    """Return a network of one layer of another one; ``changes`` are those of its output."""
    names = tuple(dict.fromkeys(layer.inputs))
    target = dataclasses.replace(network.tensor(layer.output), **changes)
    tensors = (*(network.tensor(name) for name in names), target)
    return IntegerNetwork("single", tensors, (layer,), names, (layer.output,), names, ("y",))


def ties(layer, network, q):
    """Return where the accumulator of a layer is a tie: its rounding constant makes it a multiple.

    The layer itself is run without a shift, so that its output is the accumulator.
    """
    form = layer.requantization
    limits = {"lower": dtype.int32.min, "upper": dtype.int32.max}
    whole = dataclasses.replace(form, shift=np.zeros_like(form.shift), offset=0, **limits)
    bare = dataclasses.replace(layer, requantization=whole)
    plain = single_layer(network, bare, dtype=dtype.int32, zero_point=0)
    accumulator = golden(plain, q)["y"].astype(np.int64)
    shape = [1] * accumulator.ndim
    shape[1] = -1
    power = np.int64(1) << form.shift.astype(np.int64)
    power = power.reshape(shape) if power.size > 1 else power.reshape(())
    return (accumulator % power == 0) & (power > 1)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["shift", "shift-channels"])
@pytest.mark.parametrize("name", ["resnet8_cifar10", "dscnn_kws", "resnet", "mbv2"])
def test_with_real_scales_every_difference_is_a_tie(name, mode):
    """Layer by layer, fed with the integers of the golden model."""
    _, network, q = lowered(name, mode)
    _, tensors = network.run(q[:20], intermediates=True)
    count = 0
    for layer in network.layers:
        form = getattr(layer, "requantization", None)
        if form is None or network.tensor(layer.output).dtype is not dtype.int8:
            continue
        single = single_layer(network, layer)
        fed = {key: tensors[key] for key in single.input_names}
        fed = fed if len(fed) > 1 else next(iter(fed.values()))
        expected = golden(single, fed)["y"].astype(np.int64)
        tied = ties(layer, network, fed)
        count += int(tied.sum())
        options = QdqOptions(scales="real", odd_accumulators=False)
        model = checked_model(qdq_graph(single, options), 21)
        for engine in ("onnxruntime", "onnx.reference"):
            found = integers_of(single, ENGINES[engine](model, real_inputs(single, fed)))["y"]
            wrong = found != expected
            assert np.abs(found - expected).max(initial=0) <= 1
            assert tied[wrong].all(), layer
    assert count > 100
