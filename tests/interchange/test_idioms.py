"""Every idiom of QDQ models, one small model each, against ONNX Runtime."""

import numpy as np
import pytest
from qdq_idioms import IN, MODELS, POSITIVE, SHAPE, A, B, conv, on_grid
from qdq_models import QdqModel

import aidge_quant as aq
from aidge_quant.integer import layers
from aidge_quant.interchange import from_qdq
from aidge_quant.onnx_io.reader import read_model


def runtime_result(built, x, *, optimized=True):
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.x64quantprecision", "1")
    if not optimized:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = runtime.InferenceSession(built.SerializeToString(), options)
    rows = [session.run(None, {"x": sample[None]}) for sample in x]
    return [np.concatenate(parts) for parts in zip(*rows, strict=True)]


def imported(built):
    graph = read_model(built)
    from_qdq(graph)
    return graph, aq.lower(graph)


@pytest.mark.parametrize("name", MODELS)
def test_an_idiom_gives_the_integers_of_onnx_runtime(name):
    m = QdqModel(SHAPE, opset=17)
    built = m.build(MODELS[name](m, m.through("x", IN)))
    x = on_grid(SHAPE)
    # Means of four values end in ties, which float32 may miss; the optimized model misses fewer.
    ties = name == "average_pool_on_one_scale"
    (wanted,) = runtime_result(built, x, optimized=ties)
    graph, network = imported(built)
    q = network.quantize_input(x)
    scale = network.tensor(network.outputs[0]).scale
    results = network.dequantize_output(network.run(q))
    assert results.shape == wanted.shape
    difference = np.abs(results - wanted) / scale
    assert difference.max() < 1.01
    assert np.mean(difference < 0.01) > (0.998 if ties else 0.999)
    assert len(np.unique(wanted)) > 20
    # the quantized graph itself computes the same
    values = np.asarray(aq.run(graph, x), np.float64) * scale
    assert np.mean(np.abs(values - results) / scale < 0.01) > 0.999


def test_the_names_of_layers_are_those_of_the_model():
    m = QdqModel(SHAPE)
    x = m.dequantize(m.quantize("x", IN, name="x_quantized"), IN)
    y = m.quantize(m.node("Relu", conv(m, x, name="first")), POSITIVE, name="first_quantized")
    graph, network = imported(m.build(m.dequantize(y, POSITIVE)))
    assert [layer.name for layer in network.layers] == ["first"]
    assert network.layers[0].source == ("first", "first_quantized")
    assert graph.node("x_quantized").type == "Quantizer"


def test_a_power_of_two_becomes_one_shift():
    m = QdqModel(SHAPE)
    x = m.through("x", (0.25, 0, "int8"))
    y = m.through(conv(m, x, scale=2.0**-7), (0.5, 0, "int8"))
    _, network = imported(m.build(y))
    (layer,) = network.layers
    assert layer.requantization.multiplier is None
    assert layer.requantization.shift.tolist() == [8]
    assert layer.requantization.rounding == "half_even"


def test_wide_activations_and_four_bit_weights():
    m = QdqModel(SHAPE, opset=21)
    wide = (0.0001, 0, "int16")
    x = m.through("x", wide)
    four = m.constant(m.rng.integers(-7, 8, (5, 4, 3, 3)), kind=22)
    weight = m.node("DequantizeLinear", four, m.constant(np.float32(0.1)))
    built = m.build(m.through(m.node("Conv", x, weight), (0.0002, 32768, "uint16")))
    samples = on_grid(SHAPE, 5, wide)
    (wanted,) = runtime_result(built, samples, optimized=False)
    _, network = imported(built)
    (layer,) = network.layers
    assert layer.weight_dtype is aq.dtype.int4
    assert network.tensor(network.outputs[0]).dtype is aq.dtype.int16
    results = network.dequantize_output(network.run(network.quantize_input(samples)))
    difference = np.abs(results - wanted) / 0.0002
    assert difference.max() < 1.1
    assert np.mean(difference < 0.1) > 0.95  # float32 sums of 16-bit values


def test_an_output_without_quantization_is_the_accumulator():
    m = QdqModel(SHAPE)
    scales = np.linspace(0.001, 0.005, 5).astype(np.float32)
    built = m.build(conv(m, m.through("x", IN), scale=scales))
    x = on_grid(SHAPE, 4)
    (wanted,) = runtime_result(built, x)
    _, network = imported(built)
    assert network.tensor(network.outputs[0]).dtype is aq.dtype.int32
    results = network.dequantize_output(network.run(network.quantize_input(x)))
    np.testing.assert_allclose(results, wanted, rtol=0, atol=1e-5)


def test_integers_at_both_ends_become_real_numbers():
    m = QdqModel(SHAPE, kind="uint8")
    y = m.quantize(conv(m, m.dequantize("x", IN)), A)
    built = m.build(y, kind=2)
    q = np.random.default_rng(0).integers(0, 256, (4, *SHAPE)).astype(np.uint8)
    (wanted,) = runtime_result(built, q)
    _, network = imported(built)
    reals = ((q.astype(np.int32) - IN[1]) * np.float32(IN[0])).astype(np.float32)
    found = network.run(network.quantize_input(reals))
    tensor = network.tensor(network.outputs[0])
    difference = found.astype(int) - tensor.zero_point - (wanted.astype(int) - A[1])
    assert np.abs(difference).max() <= 1
    assert np.mean(difference == 0) > 0.999


def test_a_final_softmax_is_left_out_and_argmax_kept():
    m = QdqModel((8,))
    y = m.through(m.node("MatMul", m.through("x", IN), m.weight((8, 5), 0.01)), A)
    y = m.through(m.node("Softmax", y, axis=1), (1 / 256, 0, "uint8"))
    _, network = imported(m.build(y))
    assert [layer.kind for layer in network.layers] == ["FullyConnected"]
    m = QdqModel((8,))
    y = m.through(m.node("MatMul", m.through("x", IN), m.weight((8, 5), 0.01)), A)
    _, network = imported(m.build(m.node("ArgMax", y, axis=1), kind=7))
    assert isinstance(network.layers[-1], layers.ArgMax)


def test_two_outputs_of_one_tensor_and_its_reader():
    m = QdqModel(SHAPE)
    y = m.through(conv(m, m.through("x", IN), out=4), A)
    z = m.through(conv(m, y, name="second"), B)
    _, network = imported(m.build(y, z))
    assert network.output_names == (y, z)


def test_the_import_reads_what_it_needs_before_it_changes_anything():
    m = QdqModel(SHAPE)
    x = m.through("x", IN)
    y = m.node("Softmax", conv(m, x), axis=1)
    graph = read_model(m.build(conv(m, m.through(y, A), shape=(5, 5, 3, 3), name="last")))
    before = str(graph)
    with pytest.raises(aq.errors.UnsupportedError, match="Softmax"):
        from_qdq(graph)
    assert str(graph) == before
