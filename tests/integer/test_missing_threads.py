"""Runs for which the system has no more threads: the integers are the same."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="preloads a library as Linux does")

#: Stands before the C library: from call `fail_from` on, where that is not 0, no thread begins.
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>

static int fail_from, calls;

void fail_threads_from(int call)
{
    fail_from = call;
    calls = 0;
}

int pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *x)
{
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) =
            dlsym(RTLD_NEXT, "pthread_create");

    calls++;
    return (fail_from > 0 && calls >= fail_from) ? EAGAIN : real(t, a, f, x);
}
"""

#: A layer that is no step, so that steps read a tensor whose place later ones use again.
SCRIPT = """
    import ctypes
    import sys

    import numpy as np
    from random_networks import inputs_for
    from tile_networks import image, requantization

    from aidge_quant.dtypes import dtype
    from aidge_quant.integer import layers, plan
    from aidge_quant.integer.network import IntegerNetwork

    plan._LEAST_PRODUCTS = 1
    rng, shape = np.random.default_rng(0), (12, 12, 16)

    def convolution(name, source, target):
        weight = rng.choice([-127, 127, 1, 0, 64, -5], (16, 3, 3, 16)).astype(np.int8)
        step = requantization(rng, 16, "shift")
        begin = (weight, dtype.int8, np.zeros(16, np.int32), step, (1, 1), (1, 1), (1, 1, 1, 1))
        return layers.Convolution(name, (source,), target, (), *begin, 1, 0, residual=None)

    table = rng.integers(-128, 128, (1, 256)).astype(np.int8)
    found = (
        layers.Lookup("a", ("x",), "t", (), table),
        convolution("b", "t", "u"),
        convolution("c", "u", "v"),
        convolution("d", "v", "y"),
    )
    tensors = tuple(image(name, shape) for name in "xtuvy")
    network = IntegerNetwork("n", tensors, found, ("x",), ("y",), ("x",), ("y",))
    q = {count: inputs_for(network, count, 0) for count in (1, 5)}
    expected = {count: network.run(x, intermediates=True)[0] for count, x in q.items()}
    shim = ctypes.CDLL(sys.argv[1])
    for threads, call in ((2, 1), (3, 1), (4, 3), (6, 5)):
        for count, x in q.items():
            for _ in range(100):
                shim.fail_threads_from(call)
                y = network.run(x, threads=threads)
                shim.fail_threads_from(0)
                np.testing.assert_array_equal(y, expected[count])
    print("equal")
"""


def test_missing_threads_change_no_integer(tmp_path):
    source, library = tmp_path / "shim.c", tmp_path / "shim.so"
    source.write_text(SHIM)
    command = ["cc", "-shared", "-fPIC", str(source), "-o", str(library), "-ldl"]
    subprocess.run(command, check=True)
    tests = Path(__file__).parents[1]
    environment = {**os.environ, "LD_PRELOAD": str(library), "OPENBLAS_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(tests), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), str(library)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("equal\n")
