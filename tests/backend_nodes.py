"""The node tests that come with onnx, run by our reader and executor.

Each is a model of one node with inputs and expected outputs. Some give as inputs of the model what
exporters store as constants (the shape of Reshape, the axes of Squeeze); where we need a constant,
the values of the test are stored in the model and it is read again.

``python tests/backend_nodes.py`` prints how many of how many pass, and the others.
"""

import importlib
import pkgutil
import warnings
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import onnx
import onnx.backend.test.case.node as node_cases
from onnx import numpy_helper

from aidge_quant.dtypes import dtype
from aidge_quant.errors import AidgeQuantError
from aidge_quant.executor import evaluate
from aidge_quant.onnx_io.reader import read_model
from aidge_quant.onnx_io.support import supported_operators

#: Absolute tolerance in place of onnx's 1e-7: float32 sums of another order differ by more.
ABSOLUTE = 1e-6


class Result(NamedTuple):
    """How one test ended: ``reason`` is empty where it passed."""

    operator: str
    name: str
    reason: str


def operators() -> list[str]:
    """Return the supported ONNX operators that have node tests."""
    return [name for name in supported_operators() if name.lower() in _modules()]


def results_of(operator: str) -> Iterator[Result]:
    """Run the node tests of one operator."""
    for case in _cases(operator):
        yield Result(operator, case.name, _run(case))


@cache
def _modules() -> dict[str, str]:
    """Return the modules that make the tests, by their operator in lower case."""
    names = (info.name for info in pkgutil.iter_modules(node_cases.__path__))
    return {name.replace("_", ""): name for name in names}


@cache
def _cases(operator: str) -> list:
    """Return the tests of one operator, without those rewritten to other operators."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the expected values of some tests overflow on purpose
        importlib.import_module(f"{node_cases.__name__}.{_modules()[operator.lower()]}")
    return [
        case
        for case in node_cases._NodeTestCases
        if "_expanded" not in case.name and case.model.graph.node[0].op_type == operator
    ]


def _run(case) -> str:
    for inputs, expected in case.data_sets:
        names = [info.name for info in case.model.graph.input]
        arrays = [_array(value) for value in inputs]
        if any(array is None for array in arrays):
            return "an input is a sequence or optional"
        feeds = dict(zip(names, arrays, strict=True))
        try:
            graph = _read(case.model, feeds)
        except AidgeQuantError as error:
            return str(error).splitlines()[-1].strip()
        used = {node.name: feeds[node.name] for node in graph.inputs}
        with np.errstate(all="ignore"):
            outputs = evaluate(graph, used)
        for name, wanted in zip((o.name for o in case.model.graph.output), expected, strict=True):
            found = outputs[name]
            wanted = np.asarray(_array(wanted))
            if wanted.dtype.name in dtype.__members__:  # 4 bits are stored in 8
                wanted = wanted.astype(dtype(wanted.dtype.name).numpy)
            if found.shape != wanted.shape or found.dtype != wanted.dtype:
                return f"{name} is {found.dtype}{found.shape}"
            if not np.allclose(found, wanted, case.rtol, max(case.atol, ABSOLUTE), equal_nan=True):
                return f"{name} differs"
    return ""


def _read(model: onnx.ModelProto, feeds: dict[str, np.ndarray]):
    """Return the graph of a test, with constants in place of inputs where that is needed."""
    try:
        return read_model(model)
    except AidgeQuantError:
        data = model.graph.input[0].name
        if len(feeds) < 2:
            raise
    bound = onnx.ModelProto()
    bound.CopyFrom(model)
    for name, array in feeds.items():
        if name != data:
            bound.graph.initializer.append(numpy_helper.from_array(array, name))
    return read_model(bound)


def _array(value: object) -> np.ndarray | None:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.ndarray | np.generic) else None


def main() -> None:
    """Print the figures of the README."""
    results = [result for operator in operators() for result in results_of(operator)]
    failed = [result for result in results if result.reason]
    for result in failed:
        print(f"{result.name}: {result.reason}")
    print(
        f"{len(results) - len(failed)} of the {len(results)} node tests of the {len(operators())} "
        f"supported operators pass (onnx {onnx.__version__})"
    )


if __name__ == "__main__":
    main()
