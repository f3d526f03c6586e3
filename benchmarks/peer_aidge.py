"""Eclipse Aidge itself, whose published functions this package follows: it times quantize_network.

``pip install aidge_core aidge_backend_cpu aidge_onnx aidge_quantization``; 0.10.1 was tried.
"""

from importlib.util import find_spec

PACKAGES = ("aidge_core", "aidge_backend_cpu", "aidge_onnx", "aidge_quantization")


def available():
    """Return whether all of its packages are installed."""
    return all(find_spec(name) is not None for name in PACKAGES)


def quantize(path, samples):
    """Read a float model and quantize it to 8 bits and single shifts; samples go one by one.

    Parameters
    ----------
    path : Path
        Of an ONNX file.
    samples : float32 array (count, *shape)
    """
    import aidge_backend_cpu  # noqa: F401  (its import makes the backend known)
    import aidge_core
    import aidge_onnx
    import aidge_quantization

    aidge_core.Log.set_console_level(aidge_core.Level.Error)
    model = aidge_onnx.load_onnx(str(path))
    model.set_backend("cpu")
    model.forward_dims([[1, *samples.shape[1:]]])
    kinds = aidge_core.dtype.int8, aidge_core.dtype.int8, aidge_core.dtype.int32
    aidge_quantization.auto_assign_node_precision(model, *kinds)
    aidge_quantization.quantize_network(
        model,
        calibration_set=[aidge_core.Tensor(sample) for sample in samples[:, None]],
        clipping_mode=aidge_quantization.Clipping.MAX,
        single_shift=True,
    )
    return model
