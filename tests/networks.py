"""The trained networks of the shared folder, and data as each float network is fed with it."""

import io
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import shared_data


@dataclass(frozen=True, eq=False)
class Samples:
    """Calibration and test samples, float32 (batch, *shape); labels where there are classes."""

    calibration: np.ndarray
    test: np.ndarray
    labels: np.ndarray | None


@dataclass(frozen=True)
class Network:
    """One trained network.

    Attributes
    ----------
    name : str
    path : tuple of str, below the shared folder
    load : callable
        Returns the samples.
    """

    name: str
    path: tuple[str, ...]
    load: Callable[[], Samples]

    def file(self) -> Path:
        return shared_data.shared_path(*self.path)

    def samples(self) -> Samples:
        return _cached(self.name)


def _arrays(*parts: str) -> dict[str, np.ndarray]:
    with np.load(shared_data.shared_path(*parts)) as loaded:
        return {name: loaded[name] for name in loaded.files}


def _cifar_raw() -> Samples:
    data = _arrays("data", "cifar10_small.npz")
    images = [data[key].astype(np.float32) for key in ("x_calib", "x_test")]
    return Samples(*images, data["y_test"].astype(np.int64))


def _cifar_normalized() -> Samples:
    raw = _cifar_raw()
    mean = np.array([0.485, 0.456, 0.406], np.float32).reshape(1, 3, 1, 1)
    deviation = np.array([0.229, 0.224, 0.225], np.float32).reshape(1, 3, 1, 1)
    calibration, test = ((x / 255 - mean) / deviation for x in (raw.calibration, raw.test))
    return Samples(calibration, test, raw.labels)


def _keywords() -> Samples:
    data = _arrays("data", "kws.npz")
    scale, zero = data["scale"].astype(np.float32), data["zero_point"].astype(np.float32)
    both = [(data[key].astype(np.float32) - zero) * scale for key in ("xq_calib", "xq_test")]
    return Samples(*both, data["y_test"].astype(np.int64))


def _wakeword() -> Samples:
    data = _arrays("data", "streaming_wakeword.npz")
    return Samples(data["x"], data["x"], data["y"].astype(np.int64))


def _anomaly() -> Samples:
    data = _arrays("data", "ad01_one_clip.npz")
    return Samples(data["x_calib"], data["x_test"], None)


def _mnist() -> Samples:
    data = _arrays("data", "mnist_small.npz")
    images = [data[key].astype(np.float32) for key in ("x_calib", "x_test")]
    return Samples(*images, data["y_test"].astype(np.int64))


def _imagenet() -> Samples:
    data = _arrays("data", "imagenet128_jpeg.npz")
    both = [_decoded(data[f"jpeg_{kind}"], data[f"offsets_{kind}"]) for kind in ("calib", "test")]
    return Samples(*both, data["y_test"].astype(np.int64))


def _decoded(stream: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    from PIL import Image

    images = []
    for start, end in itertools.pairwise(offsets):
        with Image.open(io.BytesIO(stream[start:end].tobytes())) as image:
            images.append(np.asarray(image.convert("RGB")))
    # (batch, height, width, channels) -> (batch, channels, height, width)
    return np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2)) / np.float32(127.5) - 1


def _digits(name: str) -> Callable[[], Samples]:
    def load() -> Samples:
        data = _arrays("aidge_reference", f"{name}.npz")
        return Samples(data["calib"], data["test"], data["test_y"])

    return load


DIGITS = ("mlp", "lenet", "lenet_imb", "resnet", "dwsep", "mbv2", "mbv2_imb", "mbv2r", "mbv2r_imb")

NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        *(Network(name, ("aidge_reference", f"{name}.onnx"), _digits(name)) for name in DIGITS),
        Network("resnet8_cifar10", ("data", "resnet8_cifar10.onnx"), _cifar_raw),
        Network("resnet8_cifar10_bn", ("data", "resnet8_cifar10_bn.onnx"), _cifar_raw),
        Network("resnet20_cifar10", ("data", "resnet20_cifar10.onnx"), _cifar_normalized),
        Network("dscnn_kws", ("data", "dscnn_kws.onnx"), _keywords),
        Network("dscnn_kws_bn", ("data", "dscnn_kws_bn.onnx"), _keywords),
        Network("dscnn_kws_tfl", ("data", "dscnn_kws_tfl.onnx"), _keywords),
        Network("ad01_autoencoder", ("data", "ad01_autoencoder.onnx"), _anomaly),
        Network("ad01_autoencoder_bn", ("data", "ad01_autoencoder_bn.onnx"), _anomaly),
        Network("streaming_wakeword", ("data", "streaming_wakeword.onnx"), _wakeword),
        Network("streaming_wakeword_bn", ("data", "streaming_wakeword_bn.onnx"), _wakeword),
        Network("mnist_cntk", ("data", "mnist_cntk.onnx"), _mnist),
        Network("mobilenetv1_025", ("data", "mobilenetv1_025_imagenet128.onnx"), _imagenet),
        Network("mobilenetv1_025_bn", ("data", "mobilenetv1_025_imagenet128_bn.onnx"), _imagenet),
    )
}


@lru_cache(maxsize=4)
def _cached(name: str) -> Samples:
    return NETWORKS[name].load()


def random_samples(shape: tuple[int, ...], count: int, seed: int) -> np.ndarray:
    """Return samples for a network without data: uniform in [-1, 1]."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (count, *shape)).astype(np.float32)
