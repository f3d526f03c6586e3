"""Forms of operators that real models use, against ONNX Runtime; folding; the operator table."""

import itertools

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from aidge_quant.executor import run
from aidge_quant.onnx_io import support
from aidge_quant.onnx_io.reader import read_model

ort = pytest.importorskip("onnxruntime")


def check(nodes, shape, constants=None, opset=13, batch="N"):
    """Compare a model from x to y with ONNX Runtime on a batch of 2; return our graph."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (batch, *shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    x = np.random.default_rng(3).standard_normal((2, *shape)).astype(np.float32)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options)
    feeds = [x] if batch == "N" else [x[:1], x[1:]]
    wanted = np.concatenate([session.run(None, {"x": feed})[0] for feed in feeds])
    found = read_model(model)
    np.testing.assert_allclose(run(found, x), wanted, rtol=1e-4, atol=1e-5)
    return found


def weights(*shape):
    """Return float32 weights."""
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


node = helper.make_node
MODES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_automatic_pads_of_windows(auto_pad, stride):
    common = {"auto_pad": auto_pad, "strides": [stride, stride]}
    for dilation in (1, 2) if auto_pad == "VALID" else (1,):  # ONNX Runtime refuses the others
        conv = node("Conv", ["x", "w"], ["y"], dilations=[dilation, 1], **common)
        check([conv], (2, 9, 8), {"w": weights(3, 2, 3, 4)})
    for name in ("MaxPool", "AveragePool"):
        check([node(name, ["x"], ["y"], kernel_shape=[3, 2], **common)], (2, 9, 8))


@pytest.mark.parametrize(
    "form",
    [
        {"auto_pad": "SAME_UPPER"},
        {"auto_pad": "SAME_LOWER"},
        {"auto_pad": "VALID"},
        {"output_shape": [11, 13]},
        {"output_shape": [12, 12], "auto_pad": "SAME_UPPER"},
        {"pads": [1, 0, 0, 1], "output_padding": [1, 0]},
        {"dilations": [2, 1], "group": 2},
    ],
    ids=str,
)
def test_forms_of_transposed_convolution(form):
    conv = node("ConvTranspose", ["x", "w", "b"], ["y"], strides=[2, 2], **form)
    outputs = 3 * form.get("group", 1)
    check([conv], (4, 6, 6), {"w": weights(4, 3, 3, 3), "b": weights(outputs)})


@pytest.mark.parametrize("mode", MODES)
def test_nearest_resizing_by_scales_and_to_sizes(mode):
    scales = ((1, 1, 2, 3), (1, 1, 0.6, 1.4), (1, 1, 1, 0.3))
    for nearest, scale in itertools.product(NEAREST, scales):
        attributes = {"coordinate_transformation_mode": mode, "nearest_mode": nearest}
        by_scale = node("Resize", ["x", "", "s"], ["y"], **attributes)
        check([by_scale], (2, 5, 7), {"s": np.array(scale, np.float32)})
    to_size = node("Resize", ["x", "", "", "n"], ["y"], **attributes)
    check([to_size], (2, 5, 7), {"n": np.array([1, 2, 8, 3], np.int64)}, batch=1)


@pytest.mark.parametrize("opset", [7, 9])
def test_upsampling_of_old_models(opset):
    if opset == 7:
        check([node("Upsample", ["x"], ["y"], scales=[1.0, 1.0, 2.0, 3.0])], (2, 3, 3), opset=7)
    else:
        scales = {"s": np.array([1, 1, 2, 3], np.float32)}
        check([node("Upsample", ["x", "s"], ["y"])], (2, 3, 3), scales, opset=9)


def test_the_shape_idiom_of_flattening_is_folded_and_keeps_the_batch():
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "zero"], ["n"]),
        node("Unsqueeze", ["n", "axes"], ["n1"]),
        node("Concat", ["n1", "rest"], ["target"], axis=0),
        node("Reshape", ["x", "target"], ["y"], name="flat"),
    ]
    constants = {"zero": np.int64(0), "axes": np.int64([0]), "rest": np.int64([-1])}
    graph = check(nodes, (2, 3, 4), constants)
    assert [n.name for n in graph] == ["x", "flat"]
    assert graph.node("flat").operator.shape == (0, 24)


def test_a_reshape_fixed_to_batch_1_keeps_the_batch_free():
    nodes = [
        node("Reshape", ["x", "rows"], ["a"]),
        node("Relu", ["a"], ["b"]),
        node("Reshape", ["b", "back"], ["y"]),
    ]
    check(nodes, (6, 4), {"rows": np.int64([6, 4]), "back": np.int64([1, 24])}, batch=1)


def test_gemm_and_matmul_become_fully_connected():
    gemm = node("Gemm", ["x", "w", "b"], ["y"], name="g", alpha=0.5, beta=2.0)
    graph = check([gemm], (4,), {"w": weights(4, 3), "b": weights(1, 3)})
    assert graph.node("g").type == "FC"
    assert {"w", "b"} <= {n.name for n in graph}
    graph = check([node("MatMul", ["x", "w"], ["y"], name="m")], (5, 4), {"w": weights(4, 3)})
    assert graph.node("m").type == "FC"


def test_shared_parameters_stay_shared():
    nodes = [
        node("Gemm", ["x", "w"], ["a"], name="first"),
        node("Relu", ["a"], ["b"]),
        node("Gemm", ["b", "w"], ["y"], name="second"),
    ]
    graph = check(nodes, (4,), {"w": weights(4, 4)})
    assert graph.node("first").input(1) == graph.node("second").input(1)


def test_a_mean_over_the_positions_is_a_global_pool():
    graph = check(
        [node("ReduceMean", ["x"], ["y"], name="gap", axes=[2, 3], keepdims=0)], (3, 4, 5)
    )
    assert [n.type for n in graph] == ["Input", "GlobalAveragePool", "Flatten"]
    axes = {"a": np.int64([-1, -2])}
    graph = check([node("ReduceMean", ["x", "a"], ["y"])], (3, 4, 5), axes, opset=18)
    assert [n.type for n in graph] == ["Input", "GlobalAveragePool"]


@pytest.mark.parametrize("opset", [7, 11, 13])
def test_softmax_and_clip_have_the_meaning_of_their_opset(opset):
    check([node("Softmax", ["x"], ["y"])], (3, 4), opset=opset)
    if opset < 11:
        clip, bounds = node("Clip", ["x"], ["y"], min=-0.5, max=0.25), {}
    else:
        clip = node("Clip", ["x", "lo", "hi"], ["y"])
        bounds = {"lo": np.float32(-0.5), "hi": np.float32(0.25)}
    graph = check([clip], (3, 4), bounds, opset=opset)
    assert [n.type for n in graph] == ["Input", "Clip"]


def test_the_operator_table_names_every_supported_operator():
    rows = support.operator_table()
    assert [row.onnx for row in rows] == support.supported_operators()
    assert set(support.NOTES) <= set(support.supported_operators())
    assert {row.onnx for row in rows if not row.operators} == {"Constant", "Shape", "Size"}
    assert "| Conv | Conv |" in support.operator_table_markdown()
