"""Files that are no models, and models that are damaged: always an error of ours, and fast."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from aidge_quant.errors import (
    AidgeQuantError,
    DataError,
    FileError,
    GraphError,
    ShapeError,
    UnsupportedError,
)
from aidge_quant.onnx_io import load_onnx
from aidge_quant.onnx_io.reader import read_model


def model(nodes, *, inputs=None, outputs=("y",), constants=None, opset=13):
    """Return a model; inputs are float shapes by name."""
    inputs = {"x": (1, 2, 5, 5)} if inputs is None else inputs
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
        [numpy_helper.from_array(a, n) for n, a in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def conv(weight=None, **attributes):
    """Return a model of one convolution."""
    weight = np.ones((4, 2, 3, 3), np.float32) if weight is None else weight
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv1", **attributes)
    return model([node], constants={"w": weight})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "is not an ONNX model"),
        (b"hello, this is a text\n", "is not an ONNX model"),
        (np.random.default_rng(1).bytes(5000), "is not an ONNX model"),
    ],
)
def test_a_file_that_is_no_model_is_refused(tmp_path, content, message):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(FileError, match=message):
        load_onnx(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(FileError, match="does not exist"):
        load_onnx(tmp_path / "nothing.onnx")
    with pytest.raises(FileError, match="is a folder"):
        load_onnx(tmp_path)


def test_external_data_is_read_from_the_folder_of_the_model_only(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    onnx.save(
        conv(), inner / "net.onnx", save_as_external_data=True, location="w.bin", size_threshold=0
    )
    assert load_onnx(inner / "net.onnx").node("w").operator.value.shape == (4, 2, 3, 3)
    damaged = onnx.load(inner / "net.onnx", load_external_data=False)
    tensor = damaged.graph.initializer[0]
    for location, message in (
        ("../w.bin", "in the folder of the model"),
        ("no.bin", "does not exist"),
    ):
        tensor.external_data[0].value = location
        (inner / "bad.onnx").write_bytes(damaged.SerializeToString())
        with pytest.raises(FileError, match=message):
            load_onnx(inner / "bad.onnx")
    (inner / "w.bin").write_bytes(b"short")
    with pytest.raises(FileError, match="which has only 5"):
        load_onnx(inner / "net.onnx")


@pytest.mark.parametrize(
    ("attributes", "error"),
    [
        ({"strides": [0, 1]}, GraphError),
        ({"strides": [-1, 1]}, GraphError),
        ({"strides": [2**40, 1]}, GraphError),
        ({"dilations": [0, 0]}, GraphError),
        ({"group": 0}, GraphError),
        ({"group": 3}, AidgeQuantError),
        ({"pads": [-1, 0, 0, 0]}, UnsupportedError),
        ({"pads": [1]}, GraphError),
        ({"kernel_shape": [5, 5]}, ShapeError),
        ({"strides": 1.5}, GraphError),
        ({"auto_pad": "SOMETIMES"}, GraphError),
        ({"nonsense": 3}, AidgeQuantError),
    ],
)
def test_wrong_attributes_are_refused_with_the_name_of_the_node(attributes, error):
    with pytest.raises(error, match="conv1"):
        read_model(conv(**attributes))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_parameters_that_are_not_finite_are_refused(value):
    weight = np.ones((4, 2, 3, 3), np.float32)
    weight[1, 0, 2, 2] = value
    with pytest.raises(DataError, match="'w' has 1 values of 72"):
        read_model(conv(weight))


def test_malformed_graphs_are_refused():
    relu = helper.make_node
    with pytest.raises(GraphError, match="cycle"):
        read_model(
            model(
                [
                    relu("Add", ["x", "b"], ["a"]),
                    relu("Relu", ["a"], ["b"]),
                    relu("Relu", ["b"], ["y"]),
                ]
            )
        )
    with pytest.raises(GraphError, match="'gone', read by Relu, is made by no node"):
        read_model(model([relu("Relu", ["gone"], ["y"])]))
    with pytest.raises(GraphError, match="made twice"):
        read_model(model([relu("Relu", ["x"], ["y"]), relu("Tanh", ["x"], ["y"])]))
    with pytest.raises(GraphError, match="ONNX definition"):
        read_model(model([relu("Relu", ["x", "x"], ["y"])]))


def test_nodes_out_of_order_are_sorted_and_dead_ones_dropped():
    nodes = [
        helper.make_node("Relu", ["a"], ["y"], name="second"),
        helper.make_node("Tanh", ["x"], ["a"], name="first"),
        helper.make_node("NonZero", ["x"], ["unused"]),
    ]
    graph = read_model(model(nodes))
    assert [node.name for node in graph.topological()] == ["x", "first", "second"]


def test_open_sizes_are_asked_for_and_taken():
    found = model([helper.make_node("Relu", ["x"], ["y"])], inputs={"x": ("N", 3, "height", None)})
    with pytest.raises(
        ShapeError, match=r"size 2 \(height\).*input_shapes=\{\"x\": \(1, 3, \?, \?\)\}"
    ):
        read_model(found)
    graph = read_model(found, input_shapes={"x": (1, 3, 48, 40)})
    assert graph.inputs[0].operator.shape == (1, 3, 48, 40)
    with pytest.raises(ShapeError, match="names \\['z'\\]"):
        read_model(found, input_shapes={"z": (1,)})
    with pytest.raises(ShapeError, match="the model says"):
        read_model(found, input_shapes={"x": (1, 4, 48, 40)})


def test_absurd_sizes_are_refused():
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    with pytest.raises(ShapeError, match="at most"):
        read_model(model(nodes, inputs={"x": (1, 2**30, 2**30)}))
    fill = helper.make_node("ConstantOfShape", ["s"], ["c"], name="fill")
    sized = {"s": np.array([2**40, 2**20], np.int64)}
    with pytest.raises(GraphError, match="fill"):
        read_model(model([fill, helper.make_node("Add", ["x", "c"], ["y"])], constants=sized))


@pytest.mark.parametrize("opset", [1, 6, 99])
def test_other_opsets_are_refused_with_a_remedy(opset):
    with pytest.raises(UnsupportedError, match="version_converter"):
        read_model(model([helper.make_node("Relu", ["x"], ["y"])], opset=opset))


def test_all_problems_are_listed_at_once():
    nodes = [
        helper.make_node("NonZero", ["x"], ["a"], name="one"),
        helper.make_node("Relu", ["a"], ["b"], name="behind"),
        helper.make_node("Conv", ["x", "w"], ["c"], name="two", strides=[0, 0]),
        helper.make_node("Gelu", ["x"], ["d"], name="three", domain="com.microsoft"),
        helper.make_node("Sum", ["b", "c", "d"], ["y"], name="last"),
    ]
    with pytest.raises(UnsupportedError, match="3 problems") as refused:
        read_model(model(nodes, constants={"w": np.ones((4, 2, 3, 3), np.float32)}))
    listed = [line.split()[0] for line in str(refused.value).splitlines()[1:]]
    assert listed == ["one", "two", "three"]


def test_damaged_bytes_never_give_a_foreign_error(tmp_path):
    nodes = [
        helper.make_node(
            "Conv", ["x", "w"], ["a"], name="conv1", pads=[1, 1, 1, 1], strides=[2, 2]
        ),
        helper.make_node("MaxPool", ["a"], ["b"], kernel_shape=[2, 2]),
        helper.make_node("Shape", ["b"], ["s"]),
        helper.make_node("Reshape", ["b", "shape"], ["c"]),
        helper.make_node("Gemm", ["c", "m"], ["y"], alpha=0.5, transB=1),
    ]
    constants = {
        "w": np.ones((4, 2, 3, 3), np.float32),
        "shape": np.array([1, -1], np.int64),
        "m": np.ones((3, 16), np.float32),
    }
    whole = model(nodes, constants=constants).SerializeToString()
    rng, path = np.random.default_rng(2), tmp_path / "net.onnx"
    path.write_bytes(whole)
    load_onnx(path)
    for trial in range(600):
        damaged = bytearray(whole)
        if trial % 3 == 0:
            del damaged[rng.integers(len(whole)) :]
        else:
            for place in rng.integers(len(whole), size=1 + trial % 4):
                damaged[place] = rng.integers(256)
        path.write_bytes(bytes(damaged))
        try:
            load_onnx(path)
        except AidgeQuantError:
            continue
