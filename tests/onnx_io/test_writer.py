"""Graphs become ONNX files that runtimes and our reader understand as we do."""

import os

import numpy as np
import onnx
import pytest
import shared_data
import written_models as written
from float_networks import Net
from networks import NETWORKS, random_samples

from aidge_quant import ops
from aidge_quant._version import __version__
from aidge_quant.errors import DtypeError, FileError, GraphError, UnsupportedError
from aidge_quant.executor import run
from aidge_quant.graph import GraphView, Port
from aidge_quant.onnx_io import load_onnx, to_model, write_onnx
from aidge_quant.onnx_io.definitions import newest_opset
from aidge_quant.onnx_io.reader import read_model

TOLERANCE = 1e-5  # of the largest output
ODD = {
    "mtcnn_pnet": (3, 48, 48),
    "mtcnn_rnet": (3, 24, 24),
    "qonnx_espcn_float": (3, 4, 4),
    "onnx2c_mnist_pytorch": (784,),
}
QUICK = ("lenet", "mbv2r", "resnet", "streaming_wakeword_bn", "mnist_cntk")


def small() -> GraphView:
    net = Net((3, 8, 8))
    net.conv("conv", (3, 4))
    net.add(ops.ReLU(), "relu")
    net.add(ops.Flatten(), "flatten")
    net.fc("fc", (256, 5))
    net.graph.add_output(net.last, "output")
    return net.graph


def chain(*operators: ops.Operator, shape=(1, 4)) -> GraphView:
    graph = GraphView("chain")
    last = graph.add_input(ops.Input(shape), "x")
    for index, operator in enumerate(operators):
        last = graph.add(operator, (last,), f"n{index}")
    graph.add_output(last, "y")
    return graph


def compare(graph, x, opset):
    model = to_model(graph, opset=opset)
    written.check(model)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    expected = run(graph, x)
    expected = list(expected.values()) if isinstance(expected, dict) else [expected]
    again = run(read_model(model), x)
    again = list(again.values()) if isinstance(again, dict) else [again]
    found = written.session(model).run(None, {model.graph.input[0].name: x})
    for ours, theirs, ours_again in zip(expected, found, again, strict=True):
        assert np.abs(theirs - ours).max() <= TOLERANCE * np.abs(ours).max()
        np.testing.assert_array_equal(ours_again, ours)


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS],
)
def test_a_shared_network_is_written(name):
    graph = load_onnx(NETWORKS[name].file())
    for opset in (13, 17, written.newest_of_runtime()):
        compare(graph, NETWORKS[name].samples().test[:4], opset)


@pytest.mark.parametrize("name", ODD)
def test_an_odd_network_is_written(name):
    graph = load_onnx(shared_data.shared_path("data", "odd", f"{name}.onnx"))
    for opset in (13, 17, written.newest_of_runtime()):
        compare(graph, random_samples(ODD[name], 2, 5), opset)


def test_the_file_says_what_it_is(tmp_path):
    graph = small()
    graph.metadata = {"recipe": "none", "aidge_quant.level": "1"}
    write_onnx(graph, tmp_path / "a.onnx", metadata={"aidge_quant.level": "2", "a": "b"})
    model = onnx.load(tmp_path / "a.onnx")
    assert (model.producer_name, model.producer_version) == ("aidge_quant", __version__)
    assert (model.graph.name, model.ir_version) == ("test", 8)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    found = [(entry.key, entry.value) for entry in model.metadata_props]
    assert found == [("a", "b"), ("aidge_quant.level", "2"), ("recipe", "none")]
    assert load_onnx(tmp_path / "a.onnx").metadata == {"aidge_quant.level": "2"}


def test_every_tensor_has_a_type_and_a_shape():
    graph = chain(ops.Gelu(), ops.Softmax(0, flatten=True), shape=(1, 3, 4))
    model = to_model(graph, opset=13)
    made = {name for node in model.graph.node for name in node.output}
    infos = {info.name: info for info in (*model.graph.value_info, *model.graph.output)}
    assert set(infos) == made
    shape = infos["n0"].type.tensor_type.shape
    assert [d.dim_param or d.dim_value for d in shape.dim] == ["batch", 3, 4]


def test_names_are_kept():
    model = to_model(small())
    assert [node.name for node in model.graph.node] == ["conv", "relu", "flatten", "fc"]
    assert [node.output[0] for node in model.graph.node] == ["conv", "relu", "flatten", "output"]
    assert [t.name for t in model.graph.initializer] == ["conv_w", "conv_b", "fc_w", "fc_b"]
    assert [node.name for node in read_model(model).nodes] == [n.name for n in small().nodes]


def test_equal_graphs_give_equal_bytes(tmp_path):
    for name in ("a.onnx", "b.onnx"):
        write_onnx(small(), tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["a.onnx", "b.onnx"]


def test_large_parameters_move_to_a_file_beside(tmp_path):
    graph, path = small(), tmp_path / "big.onnx"
    path.write_text("old")
    write_onnx(graph, path, external_data_threshold=5000)
    assert sorted(os.listdir(tmp_path)) == ["big.onnx", "big.onnx.data"]
    stored = {t.name: t for t in onnx.load(path, load_external_data=False).graph.initializer}
    assert stored["fc_w"].data_location == onnx.TensorProto.EXTERNAL
    assert stored["conv_w"].data_location == onnx.TensorProto.DEFAULT
    assert (tmp_path / "big.onnx.data").stat().st_size == 256 * 5 * 4
    x = random_samples((3, 8, 8), 2, 1)
    np.testing.assert_array_equal(run(load_onnx(path), x), run(graph, x))
    (found,) = written.session(str(path)).run(None, {"input": x})
    np.testing.assert_allclose(found, run(graph, x), rtol=0, atol=1e-5)
    onnx.checker.check_model(str(path), full_check=True)


def test_a_failed_writing_leaves_everything_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "net.onnx"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(FileError, match=r"cannot write .*net\.onnx: No space left"):
        write_onnx(small(), path, external_data_threshold=0)
    assert os.listdir(tmp_path) == ["net.onnx"]
    assert path.read_text() == "old"


def test_a_wrong_path_is_refused(tmp_path):
    with pytest.raises(FileError, match=r"there is no folder .*absent; make it first"):
        write_onnx(small(), tmp_path / "absent" / "net.onnx")
    with pytest.raises(FileError, match="is a folder, expected the name of an ONNX file"):
        write_onnx(small(), tmp_path)


def test_an_opset_too_low_lists_all_nodes():
    graph = chain(ops.Gelu(), ops.Erf(), ops.ReLU(), ops.Clip(0.0, np.arange(4.0)), shape=(1, 4, 2))
    with pytest.raises(UnsupportedError) as refused:
        to_model(graph, opset=7)
    assert str(refused.value).splitlines() == [
        "cannot write chain as ONNX opset 7: 3 problems",
        "  n0 (Gelu): it needs opset 9: opset 7 has no operator Erf",
        "  n1 (Erf): it needs opset 9: opset 7 has no operator Erf",
        "  n3 (Clip): it needs opset 8: a bound for each channel cannot be written before opset 8",
        "  pass opset=9",
    ]


@pytest.mark.parametrize("opset", [6, newest_opset() + 1])
def test_an_unknown_opset_is_refused(opset):
    with pytest.raises(UnsupportedError, match=f"opset is {opset}, expected 7 to {newest_opset()}"):
        to_model(small(), opset=opset)


def test_odd_names_are_kept_and_never_clash():
    graph = GraphView("größe/1")
    x = graph.add_input(ops.Input((1, 4)), "y:0 ä")
    split = graph.add(ops.Split(1, (1, 3)), (x,), "a b")
    clash = graph.add(ops.Gelu(), (Port(split, 1),), "a b_1")
    half = graph.add(ops.ReLU(), (clash,), "a b_1_half")
    other = graph.add(ops.Abs(), (half,), "end")
    graph.add_output(other, "a b")
    graph.add_output(Port(split, 0), "end")
    model = to_model(graph, opset=17)
    written.check(model)
    assert [o.name for o in model.graph.output] == ["a b", "end"]
    names = [node.name for node in model.graph.node]
    assert {"a b", "a b_1", "a b_1_half", "end"} < set(names)
    assert len(set(names)) == len(names)
    array = random_samples((4,), 3, 2)
    found = written.session(model).run(None, {"y:0 ä": array})
    for ours, theirs in zip(run(graph, array).values(), found, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-6)


def test_outputs_that_no_node_makes_are_copies():
    graph = GraphView("ends")
    x = graph.add_input(ops.Input((1, 2)), "x")
    relu = graph.add(ops.ReLU(), (x,), "relu")
    constant = graph.add(ops.producer(np.ones((1, 2), np.float32)), (), "one")
    for node, name in ((relu, "a"), (relu, "b"), (x, "c"), (x, "x"), (constant, "d")):
        graph.add_output(node, name)
    model = to_model(graph)
    written.check(model)
    assert [n.op_type for n in model.graph.node] == ["Relu", *["Identity"] * 3]
    x_values = np.array([[-1, 2]], np.float32)
    found = written.session(model).run(None, {"x": x_values})
    for ours, theirs in zip(run(graph, x_values).values(), found, strict=True):
        np.testing.assert_array_equal(theirs, ours)


def test_an_output_called_like_another_input_is_refused():
    graph = chain(ops.ReLU())
    graph.add_output(graph.node("n0"), "x")
    with pytest.raises(GraphError, match="an input and another output named 'x'; rename"):
        to_model(graph)


def test_shared_and_unread_parameters_are_written_once_or_not():
    graph = GraphView("shared")
    x = graph.add_input(ops.Input((1, 3, 4)), "x")
    weight = graph.add(ops.producer(np.eye(4, dtype=np.float32)), (), "w")
    graph.add(ops.producer(np.ones(4, np.float32)), (), "unread")
    first = graph.add(ops.FC(), (x, weight), "first")
    second = graph.add(ops.FC(), (first, weight), "second")
    graph.add_output(second, "y")
    assert [t.name for t in to_model(graph).graph.initializer] == ["w_transposed"]


def test_a_graph_for_one_batch_keeps_its_size():
    graph = chain(ops.Reshape((2, 6)), shape=(4, 3))
    (info,) = to_model(graph).graph.input
    assert [d.dim_value for d in info.type.tensor_type.shape.dim] == [4, 3]


def test_text_that_no_file_can_hold_is_refused():
    with pytest.raises(DtypeError, match=r"metadata \['level'\] of graph test is not text"):
        to_model(small(), metadata={"level": 1})
    graph = chain(ops.ReLU())
    graph.rename(graph.node("n0"), "\ud800")
    with pytest.raises(GraphError, match="a name in graph chain is not valid text"):
        to_model(graph)


def test_a_model_that_the_checker_refuses_is_a_graph_error():
    class Wrong(ops.Identity):
        def infer_shapes(self, *shapes):
            return ((*shapes[0][:-1], 7),)

    with pytest.raises(GraphError, match="graph chain does not become a valid ONNX model"):
        to_model(chain(Wrong()))
