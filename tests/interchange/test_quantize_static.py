"""Models of ONNX Runtime's quantize_static: read, imported, and compared integer by integer.

Every layer is fed with ONNX Runtime's own integers, so that one difference does not hide the next
layers. What remains is float32: the runtime multiplies the accumulator by the factor in float32,
which decides values within 2**-18 of a tie, about 1 in 100,000. In a deep network each of them
changes what follows: there the runtime differs from itself, with and without optimizations, in as
many outputs (measured on 100 samples: resnet20 in 0.3 to 6.3 %, mobilenet in 19 to 30 %).
"""

import numpy as np
import pytest
from networks import NETWORKS
from ort_quantized import VARIANTS, compare, quantized

import aidge_quant as aq
from aidge_quant.integer import layers
from aidge_quant.interchange import expand_qop, from_qdq, from_qop, fuse_qdq

SAMPLES = 100

#: Fewest outputs that are equal, of networks deep enough for single differences to spread.
OUTPUTS = {"resnet8_cifar10": 0.985, "resnet20_cifar10": 0.93, "mobilenetv1_025": 0.65}

QUICK = [
    ("dscnn_kws", VARIANTS[1], "QDQ"),
    ("mnist_cntk", VARIANTS[2], "QOperator"),
]
NAMES = ("resnet8_cifar10", "dscnn_kws", "mnist_cntk", "ad01_autoencoder")
SLOW = [(n, v, form) for n in NAMES for v in VARIANTS for form in ("QDQ", "QOperator")]
SLOW += [
    (n, v, form)
    for n in ("resnet20_cifar10", "mobilenetv1_025")
    for v in VARIANTS
    for form in ("QDQ", "QOperator")
]


def labels(value):
    return getattr(value, "name", value)


def imported(path, form):
    graph = aq.load_onnx(path)
    (from_qdq if form == "QDQ" else from_qop)(graph)
    return aq.lower(graph)


def check(name, variant, form, folder):
    path = quantized(name, variant, form, folder)
    network = imported(path, form)
    x = NETWORKS[name].samples().test[:SAMPLES].astype(np.float32)
    each, outputs = compare(network, path, x)
    assert len(each) >= sum(isinstance(layer, layers.Affine) for layer in network.layers)
    for agreement in each:
        assert agreement.equal >= 0.9998, agreement
        assert agreement.largest <= 1, agreement
    for agreement in outputs:
        assert agreement.equal >= OUTPUTS.get(name, 0.999), agreement
        assert agreement.largest <= (1 if name not in OUTPUTS else 5), agreement


@pytest.mark.parametrize(("name", "variant", "form"), QUICK, ids=labels)
def test_integers_are_those_of_onnx_runtime(name, variant, form, tmp_path):
    check(name, variant, form, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "variant", "form"), SLOW, ids=labels)
def test_integers_of_all_forms_are_those_of_onnx_runtime(name, variant, form, tmp_path):
    check(name, variant, form, tmp_path)


def test_the_c_computes_the_same(tmp_path):
    network = imported(quantized("ad01_autoencoder", VARIANTS[0], "QDQ", tmp_path), "QDQ")
    x = NETWORKS["ad01_autoencoder"].samples().test[:20].astype(np.float32)
    q = network.quantize_input(x)
    aq.export_c(network, tmp_path / "c", name="anomaly", test_inputs=q[:2])
    result = aq.verify_c(tmp_path / "c", network, q)
    assert result.identical == result.total == 20


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet8_cifar10", "dscnn_kws", "mnist_cntk"])
def test_the_c_of_other_networks_computes_the_same(name, tmp_path):
    network = imported(quantized(name, VARIANTS[1], "QDQ", tmp_path), "QDQ")
    q = network.quantize_input(NETWORKS[name].samples().test[:20].astype(np.float32))
    aq.export_c(network, tmp_path / "c", name="net", test_inputs=q[:2])
    result = aq.verify_c(tmp_path / "c", network, q)
    assert result.identical == result.total == 20


@pytest.mark.parametrize("contrib", [False, True])
@pytest.mark.parametrize("name", ["dscnn_kws", "mnist_cntk"])
def test_fusing_and_expanding_change_no_integer(name, contrib, tmp_path):
    graph = aq.load_onnx(quantized(name, VARIANTS[1], "QDQ", tmp_path))
    fused = graph.clone()
    fuse_qdq(fused, contrib=contrib)
    made = {node.type for node in fused.nodes} - {node.type for node in graph.nodes}
    assert "QLinearConv" in made
    assert ("QLinearAdd" in made or "QGemm" in made) == contrib
    expanded = fused.clone()
    expand_qop(expanded)
    assert {node.type for node in expanded.nodes} == {node.type for node in graph.nodes}
    from_qdq(graph)
    from_qop(fused)
    from_qdq(expanded)
    networks = [aq.lower(each) for each in (graph, fused, expanded)]
    q = networks[0].quantize_input(NETWORKS[name].samples().test[:20].astype(np.float32))
    first, *others = (network.run(q) for network in networks)
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_from_qop_may_stop_at_the_qdq_form(tmp_path):
    path = quantized("mnist_cntk", VARIANTS[0], "QOperator", tmp_path)
    graph, whole = aq.load_onnx(path), aq.load_onnx(path)
    from_qop(graph, to_qdq=True)
    assert not any(node.type.startswith("QLinear") for node in graph.nodes)
    assert any(node.type == "DequantizeLinear" for node in graph.nodes)
    from_qdq(graph)
    from_qop(whole)
    assert aq.lower(graph).digest == aq.lower(whole).digest
    part = aq.load_onnx(path)
    from_qop(part, ["QLinearConv"], to_qdq=True)
    kinds = {node.type for node in part.nodes}
    assert "QLinearMatMul" in kinds
    assert "QLinearConv" not in kinds
