"""The comparison with other quantizers: its figures, its memory, and what is cut from a model."""

import sys

import numpy as np
import onnx
import pytest
import shared_data
from onnx import TensorProto, helper

import aidge_quant as aq

BENCHMARKS = str(shared_data.CHECKOUT / "benchmarks")


@pytest.fixture(autouse=True)
def _benchmarks_on_the_path(monkeypatch):
    monkeypatch.setattr(sys, "path", [BENCHMARKS, *sys.path])


def test_figures_follow_their_definition():
    from figures import judge

    expected = np.array([[3.0, 4.0], [5.0, 0.0]])
    found = judge(expected + np.array([[0, -2], [0, 1]]), expected, np.array([1, 0]))
    assert (found.accuracy, found.agreement) == (0.5, 0.5)
    assert found.sqnr == 10 * np.log10(10)  # 50 over 5


def test_outputs_of_another_shape_are_refused():
    from figures import judge

    with pytest.raises(aq.ShapeError, match="outputs have shape"):
        judge(np.zeros((2, 3)), np.zeros((2, 2)), None)


def test_figures_are_measured_again_only_under_another_key(tmp_path):
    from figures import Figures
    from peer_cache import remembered

    first, second = Figures(0.5, 1.0, 20.0), Figures(None, None, 30.0)
    assert remembered("peer", "a", lambda: first, tmp_path) == first
    assert remembered("peer", "a", lambda: second, tmp_path) == first
    assert remembered("peer", "b", lambda: second, tmp_path) == second
    assert remembered("other", "a", lambda: "refused: why", tmp_path) == "refused: why"
    assert remembered("other", "a", lambda: first, tmp_path) == "refused: why"


def test_the_key_depends_on_every_value_and_file(tmp_path):
    from peer_cache import digest

    file, samples = tmp_path / "model", np.arange(6, dtype=np.float32)
    file.write_bytes(b"1")
    keys = [digest(file, samples, "1.0"), digest(file, samples, "1.1")]
    keys += [digest(file, samples.reshape(2, 3), "1.0"), digest(file, samples + 1, "1.0")]
    file.write_bytes(b"2")
    keys.append(digest(file, samples, "1.0"))
    assert len(set(keys)) == len(keys)


def test_only_a_last_softmax_is_cut():
    pytest.importorskip("onnxruntime")
    from peer_onnxruntime import without_softmax

    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, 4)) for n in ("x", "y")]
    relu, softmax = (
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Softmax", ["r"], ["y"]),
    )
    model = helper.make_model(helper.make_graph([relu, softmax], "g", ends[:1], ends[1:]))
    without_softmax(model)
    assert [node.op_type for node in model.graph.node] == ["Relu"]
    assert model.graph.output[0].name == "r"
    assert [node.op_type for node in without_softmax(model).graph.node] == ["Relu"]


@pytest.mark.slow
def test_the_official_file_scores_as_its_makers_say():
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")
    from figures import float_outputs, judge
    from networks import NETWORKS
    from peer_tflite import OFFICIAL, outputs

    data = NETWORKS["dscnn_kws_tfl"].samples()
    logits = outputs(shared_data.shared_path("data", OFFICIAL["dscnn_kws_tfl"]), data.test)
    found = judge(logits, float_outputs("dscnn_kws_tfl"), data.labels)
    assert round(100 * found.accuracy, 2) == 89.89  # the shared data's own figure
    assert found.sqnr > 28


@pytest.mark.parametrize(("name", "millions"), [("resnet18", 1814), ("mobilenetv2", 301)])
def test_networks_of_random_weights_have_the_published_size(name, millions):
    """Multiply-accumulates of He et al. 2016 and Sandler et al. 2018, global pool left out."""
    from imagenet_networks import BUILDERS

    model = onnx.shape_inference.infer_shapes(BUILDERS[name](), strict_mode=True)
    sizes = {info.name: info.type.tensor_type.shape.dim for info in model.graph.value_info}
    weights = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    products = 0
    for node in model.graph.node:
        if node.op_type == "Conv":
            places = [dim.dim_value for dim in sizes[node.output[0]][2:]]
            products += np.prod(places) * np.prod(weights[node.input[1]])
        elif node.op_type == "Gemm":
            products += np.prod(weights[node.input[1]])
    assert round(products / 1e6) == millions
