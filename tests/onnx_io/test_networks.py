"""Every shared network gives what ONNX Runtime gives."""

import io

import numpy as np
import pytest
import shared_data

from aidge_quant.errors import UnsupportedError
from aidge_quant.executor import evaluate, infer_shapes, run
from aidge_quant.onnx_io import load_onnx

ort = pytest.importorskip("onnxruntime")

TOLERANCE = 1e-4  # of the largest output; float32 sums in another order differ by 1e-6
SAMPLES = 8


def _array(file, key):
    return np.load(shared_data.shared_path("data", file))[key][:SAMPLES]


def _cifar(file="cifar10_small.npz"):
    return _array(file, "x_test").astype(np.float32)


def _cifar_normalized():
    mean = np.float32([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)
    std = np.float32([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)
    return (_cifar() / np.float32(255) - mean) / std


def _kws():
    data = np.load(shared_data.shared_path("data", "kws.npz"))
    scale, zero = np.float32(data["scale"]), np.float32(data["zero_point"])
    return ((data["xq_test"][:SAMPLES].astype(np.float32) - zero) * scale).astype(np.float32)


def _imagenet():
    image = pytest.importorskip("PIL.Image")
    data = np.load(shared_data.shared_path("data", "imagenet128_jpeg.npz"))
    bounds, stream = data["offsets_test"], data["jpeg_test"]
    images = [
        np.asarray(
            image.open(io.BytesIO(stream[bounds[i] : bounds[i + 1]].tobytes())).convert("RGB")
        )
        for i in range(4)
    ]
    return np.stack(images).transpose(0, 3, 1, 2).astype(np.float32) / np.float32(127.5) - 1


def _digits(name):
    def load():
        data = np.load(shared_data.shared_path("aidge_reference", f"{name}.npz"))
        key = next(k for k in data.files if data[k].ndim == 4)
        return data[key][:SAMPLES].astype(np.float32)

    return load


def _random(*shape):
    return lambda: np.random.default_rng(7).standard_normal((2, *shape)).astype(np.float32)


DATA = {
    "resnet8_cifar10": _cifar,
    "resnet8_cifar10_bn": _cifar,
    "resnet20_cifar10": _cifar_normalized,
    "dscnn_kws": _kws,
    "dscnn_kws_bn": _kws,
    "dscnn_kws_tfl": _kws,
    "mnist_cntk": lambda: _array("mnist_small.npz", "x_test").astype(np.float32),
    "mobilenetv1_025_imagenet128": _imagenet,
    "mobilenetv1_025_imagenet128_bn": _imagenet,
    "streaming_wakeword": lambda: _array("streaming_wakeword.npz", "x").astype(np.float32),
    "streaming_wakeword_bn": lambda: _array("streaming_wakeword.npz", "x").astype(np.float32),
    "ad01_autoencoder": lambda: _array("ad01_one_clip.npz", "x_test"),
    "ad01_autoencoder_bn": lambda: _array("ad01_one_clip.npz", "x_test"),
    "odd/mtcnn_pnet": _random(3, 48, 48),
    "odd/mtcnn_rnet": _random(3, 24, 24),
    "odd/qonnx_espcn_float": _random(3, 4, 4),
    "odd/onnx2c_mnist_pytorch": _random(784),
}
REFERENCE = [
    "dwsep",
    "lenet",
    "lenet_imb",
    "mbv2",
    "mbv2_imb",
    "mbv2r",
    "mbv2r_imb",
    "mlp",
    "resnet",
]


def relative_error(path, x):
    """Return the largest difference to ONNX Runtime, as a part of the largest output."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options)
    fixed = session.get_inputs()[0].shape[0] == 1
    feeds = [x[i : i + 1] for i in range(len(x))] if fixed else [x]
    answers = [session.run(None, {session.get_inputs()[0].name: feed}) for feed in feeds]
    expected = {
        output.name: np.concatenate([answer[i] for answer in answers])
        for i, output in enumerate(session.get_outputs())
    }
    found = run(load_onnx(path), x)
    found = found if isinstance(found, dict) else {next(iter(expected)): found}
    assert list(found) == list(expected)
    return max(
        float(np.abs(found[name] - wanted).max() / np.abs(wanted).max())
        for name, wanted in expected.items()
    )


@pytest.mark.parametrize("name", DATA)
def test_a_shared_network_equals_onnx_runtime(name):
    path = shared_data.shared_path("data", *f"{name}.onnx".split("/"))
    assert relative_error(path, DATA[name]()) < TOLERANCE


@pytest.mark.parametrize("name", REFERENCE)
def test_a_reference_network_equals_onnx_runtime(name):
    path = shared_data.shared_path("aidge_reference", f"{name}.onnx")
    assert relative_error(path, _digits(name)()) < TOLERANCE


@pytest.mark.parametrize("name", DATA)
def test_inferred_shapes_are_those_of_the_arrays(name):
    graph = load_onnx(shared_data.shared_path("data", *f"{name}.onnx".split("/")))
    shapes, found = infer_shapes(graph), {}
    feeds = {n.name: np.zeros(n.operator.shape, np.float32) for n in graph.inputs}
    evaluate(graph, feeds, observe=lambda node, arrays: found.update({node: arrays}))
    for node, arrays in found.items():
        assert shapes[node] == tuple(array.shape for array in arrays), node


def test_a_model_fixed_to_batch_1_runs_on_any_batch():
    graph = load_onnx(shared_data.shared_path("data", "mnist_cntk.onnx"))
    x = DATA["mnist_cntk"]()
    singles = np.concatenate([run(graph, x[i : i + 1]) for i in range(len(x))])
    np.testing.assert_allclose(run(graph, x), singles, rtol=1e-4, atol=1e-2)


def test_names_are_those_of_the_file():
    graph = load_onnx(shared_data.shared_path("data", "mnist_cntk.onnx"))
    assert [n.name for n in graph.inputs] == ["Input3"]
    assert [o.name for o in graph.outputs] == ["Plus214_Output_0"]
    assert graph.node("Parameter5").type == "Producer"
    assert graph.node("Times212").type == "FC"


def test_an_unreadable_network_is_refused_with_the_whole_list():
    path = shared_data.shared_path("data", "odd", "silero_vad_16k_op15.onnx")
    with pytest.raises(UnsupportedError) as refused:
        load_onnx(path)
    text = str(refused.value)
    for part in (
        "size 1 (sequence) of its shape (batch, sequence) is open",
        'input_shapes={"state": (2, ?, 128)}',
        "sr (input): it is a single number",
        "/model/decoder/If_1 (If)",
        "LSTM",
    ):
        assert part in text
    assert len(text.splitlines()) == 18
