"""Another C generator makes C of our integer form, and its program gives our integers."""

import ctypes
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from networks import NETWORKS
from onnx_engines import golden

import aidge_quant as aq


@pytest.fixture(scope="module", autouse=True)
def _generator():
    if find_spec("emx_onnx_cgen") is None:
        reason = "emx-onnx-cgen is not installed; pip install '.[generators]'"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


def compiled(folder, network):
    """Return the function of the generated C, as a shared library."""
    aq.export_onnx(network, folder / "net.onnx", form="integer")
    source, library = folder / "net.c", folder / "net.so"
    generate = [sys.executable, "-m", "emx_onnx_cgen", "compile", "--input-dim", "batch=1"]
    generate += ["--large-weight-threshold", "0", "net.onnx", source.name]
    done = subprocess.run(generate, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    build = ["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-lm"]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(library)).model


@pytest.mark.slow
@pytest.mark.parametrize("channel_wise", [False, True])
@pytest.mark.parametrize("name", ["lenet", "resnet", "dscnn_kws"])
def test_its_program_gives_the_integers_of_the_golden_model(tmp_path, name, channel_wise):
    samples = NETWORKS[name].samples()
    graph = aq.load_onnx(NETWORKS[name].file())
    aq.auto_assign_node_precision(graph, aq.dtype.int8, aq.dtype.int8, aq.dtype.int32)
    options = {"single_shift": True, "channel_wise": channel_wise}
    aq.quantize_network(graph, samples.calibration[:32], **options)
    network = aq.lower(graph)
    q = network.quantize_input(samples.test[:50])
    (expected,) = golden(network, q).values()
    function = compiled(tmp_path, network)
    for row, wanted in zip(q, expected, strict=True):
        given, found = np.ascontiguousarray(row[None]), np.empty_like(wanted[None])
        function(given.ctypes.data_as(ctypes.c_void_p), found.ctypes.data_as(ctypes.c_void_p))
        np.testing.assert_array_equal(found[0], wanted)
