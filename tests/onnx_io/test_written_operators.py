"""Every operator, in every opset that has it, computes the same in another runtime."""

import numpy as np
import pytest
import written_models as written
from onnx.reference import ReferenceEvaluator
from op_cases import CASES, draw

from aidge_quant import ops
from aidge_quant.errors import UnsupportedError
from aidge_quant.executor import evaluate
from aidge_quant.onnx_io import to_model
from aidge_quant.onnx_io.definitions import newest_opset
from aidge_quant.onnx_io.opsets import OLDEST
from aidge_quant.onnx_io.reader import read_model
from aidge_quant.onnx_io.writers import EXPANSIONS

#: Float32 functions of two libraries: some units in the last place of the largest value.
TOLERANCE = 2e-6

#: Versions in which most forms changed.
QUICK = (7, 9, 11, 12, 13, 17, 18, 21, newest_opset())

#: Classes that are written as operators which the reader takes on constants only.
TRAINING = {"LSQ", "BiasQuantizer", "CGPACT", "FixedQ", "DoReFa", "TanhClamp", "ScaleAdjust"}

#: Classes that a model of floats cannot hold.
QUANTIZING = {"Quantizer", "Dequantizer", "LookupTable"}

_D = (2, 4, 6, 5)
_WIDE = np.array([0.5, 1.0, 0.1, np.inf])

#: Forms that are not among the cases of all operators: the operator and the oldest opset.
FORMS = [
    (ops.Clip(-0.5, np.array([0.5, 1.0, 0.1, 2.0])), _D, 8),
    (ops.Clip(-np.inf, _WIDE), _D, 8),
    (ops.Clip(), _D, 7),
    (ops.Softmax(1), _D, 7),
    (ops.Softmax(-3, flatten=True), _D, 7),
    (ops.Softmax(2, flatten=True), _D, 7),
    (ops.Softmax(0, flatten=True), _D, 7),
    (ops.MaxPool((2, 2), (3, 3), (1, 1), (0, 0, 1, 1), True), (2, 3, 6, 5), 7),
    (ops.MaxPool((3, 3), (2, 2), (1, 1), (0, 0, 0, 0), True), (2, 3, 6, 6), 7),
    (ops.AveragePool((3, 3), (2, 2), (1, 1), (0, 1, 0, 1), True), (2, 3, 6, 6), 7),
    (ops.AveragePool((3, 3), (2, 2), (1, 1), (1, 1, 1, 1), True, True), (2, 3, 6, 6), 10),
    (ops.AveragePool((3, 3), (2, 2), (1, 1), (1, 1, 1, 1), False, True), (2, 3, 6, 6), 7),
    (ops.AveragePool((2, 2), (1, 1), (2, 2), (0, 0, 0, 0)), (2, 3, 6, 6), 19),
    (ops.SumPool((3, 3), (2, 2), (1, 1), (0, 1, 0, 1), True), (2, 3, 6, 6), 7),
    (ops.ReduceMax((2, 3)), _D, 7),
    (ops.ReduceMean((), False), _D, 7),
    (ops.Resize((), (0, 0, 13, 7), "half_pixel", "round_prefer_floor"), _D, 11),
    (ops.Resize((), (0, 4, 7, 11), "align_corners", "floor"), _D, 11),
    (ops.Resize((), (2, 4, 7, 11), "asymmetric", "ceil"), _D, 11),
    (ops.Resize((), (0, 4, 12, 15), "asymmetric", "floor"), _D, 7),
    (ops.Resize((1.0, 1.0, 1.5, 0.7), (), "pytorch_half_pixel", "round_prefer_ceil"), _D, 11),
    (ops.Resize((1.0, 1.0, 1.5, 0.7), (), "half_pixel_symmetric", "floor"), _D, 19),
    (ops.SpaceToDepth(2, True), (2, 3, 4, 6), 7),
    (ops.DepthToSpace(2, True), (2, 8, 4, 6), 11),
    (ops.Slice((1,), (2**63,), (-1,), (1,)), _D, 7),
    (ops.Slice((-1,), (-(2**63),), (2,), (-2,)), _D, 10),
    (ops.Slice((), (), (), ()), _D, 7),
    (ops.Split(-1, (1, 3, 1)), _D, 7),
    (ops.Concat(-1), _D, 7),
    (ops.Squeeze(()), _D, 7),
    (ops.Reshape((-1, 10)), _D, 7),
    (ops.Pow(2.0), _D, 7),
    (ops.Swish(1.0), _D, 7),
    (ops.FC(), _D, 7),
    (ops.FC(), (1, 1, 6, 5), 7),
]


def compare(graph, arrays, opset, tolerance=TOLERANCE):
    model = to_model(graph, opset=opset)
    written.check(model)
    feeds = written.feeds_of(graph, arrays)
    expected = list(evaluate(graph, feeds).values())
    found = written.outcome(model, feeds)
    for ours, theirs in zip(expected, found, strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        largest = max(float(np.abs(ours).max()), 1.0)
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=tolerance * largest)


def run_case(case, kind, opsets):
    """Compare in all opsets that the writer takes; return them."""
    arrays, done, refused = draw(case, kind), [], []
    graphs = [written.single(case.operator, arrays)]
    if len(arrays) > 1:
        graphs.append(written.single(case.operator, arrays, data=True))
    for opset in opsets:
        try:
            for graph in graphs:
                compare(graph, arrays, opset)
        except UnsupportedError as error:
            refused.append(str(error))
        else:
            done.append(opset)
    for text in refused:
        assert f"node ({case.operator.type}): " in text
        assert ";" in text or "pass opset=" in text  # the remedy
    return done


def floats(cases):
    return [c for c in cases if c.operator.type not in QUANTIZING and not c.types]


#: No engine takes a zero point for each row.
NO_ENGINE = {"MatMulInteger"}

TYPED = [case for case in CASES if case.types and case.operator.type not in QUANTIZING]


@pytest.mark.parametrize("case", TYPED, ids=str)
def test_an_operator_on_given_types_is_written_and_read_again(case):
    arrays = draw(case, "")
    graph = written.single(case.operator, arrays)
    feeds = written.feeds_of(graph, arrays)
    expected = list(evaluate(graph, feeds).values())
    model = to_model(graph, opset=21)
    written.check(model)
    again = list(evaluate(read_model(model), feeds).values())
    # ONNX Runtime saturates sums of uint8 and int8 on some processors; the reference does not.
    standard = not case.operator.onnx_domain and case.operator.type not in NO_ENGINE
    found = ReferenceEvaluator(model).run(None, feeds) if standard else again
    for ours, read, theirs in zip(expected, again, found, strict=True):
        np.testing.assert_array_equal(read, ours)
        assert theirs.dtype == ours.dtype
        np.testing.assert_array_equal(theirs, ours)


@pytest.mark.parametrize("case", floats(CASES), ids=str)
def test_an_operator_on_floats_is_written(case):
    assert run_case(case, "float32", QUICK)[-3:] == list(QUICK[-3:])


@pytest.mark.parametrize("case", [c for c in floats(CASES) if c.integers], ids=str)
def test_an_operator_on_integers_is_written_or_refused(case):
    done = run_case(case, "int8", (8, 12, 14, newest_opset()))
    assert not done or done[-1] == newest_opset()


@pytest.mark.slow
@pytest.mark.parametrize("case", floats(CASES), ids=str)
@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_an_operator_is_written_in_every_opset(case, kind):
    if kind == "int8" and not case.integers:
        pytest.skip("takes floats only")
    opsets = range(OLDEST, newest_opset() + 1)
    done = run_case(case, kind, opsets)
    assert done == list(opsets)[len(opsets) - len(done) :]  # from one version on


@pytest.mark.parametrize(("operator", "shape", "oldest"), FORMS)
def test_a_form_is_written_from_its_oldest_opset_on(operator, shape, oldest):
    x = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    arrays = [x]
    if isinstance(operator, ops.Concat):
        arrays.append(x[..., :2].copy())
    if isinstance(operator, ops.FC):
        arrays += [x[0, 0], x[0, 0, :, 0]]
    graph = written.single(operator, arrays, data=isinstance(operator, ops.Concat))
    for opset in {oldest, 10, 13, 17, 18, 22, newest_opset()}:
        if opset >= oldest:
            compare(graph, arrays, opset)
    if oldest > OLDEST:
        with pytest.raises(UnsupportedError, match=f"needs opset {oldest}"):
            to_model(graph, opset=oldest - 1)


@pytest.mark.parametrize("name", EXPANSIONS)
def test_an_expansion_stands_for_an_operator_that_the_opset_has_not(name):
    case = next(case for case in CASES if case.operator.type == name)
    graph = written.single(case.operator, draw(case, "float32"))
    since = EXPANSIONS[name].since
    (operator, *_) = case.operator.onnx
    assert operator not in [n.op_type for n in to_model(graph, opset=since - 1).graph.node]
    assert operator in [n.op_type for n in to_model(graph, opset=since).graph.node]


@pytest.mark.parametrize("case", [c for c in CASES if c.operator.type in QUANTIZING], ids=str)
def test_a_quantizer_is_refused(case):
    graph = written.single(case.operator, draw(case, "float32"))
    with pytest.raises(UnsupportedError, match=r"node \(\w+\): .*set_to_qdq"):
        to_model(graph)


def test_integers_that_onnx_computes_differently_are_refused():
    x = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
    with pytest.raises(UnsupportedError, match="ONNX truncates"):
        to_model(written.single(ops.ReduceMean((1,)), [x], data=True))


def test_integers_of_64_bits_are_not_multiplied():
    x = np.ones((2, 3), np.int64)
    with pytest.raises(UnsupportedError, match="int32, but MatMul of ONNX wants int64"):
        to_model(written.single(ops.MatMul(), [x, x.T.copy()], data=True))


@pytest.mark.parametrize("kind", ["float16", "float64"])
def test_other_floats_are_written(kind):
    x = np.random.default_rng(5).standard_normal(_D).astype(kind)
    for operator in (
        ops.Clip(-0.5, 0.5),
        ops.ReLU(),
        ops.MaxPool((2, 2), (1, 1), (1, 1), (0,) * 4),
    ):
        compare(written.single(operator, [x]), [x], 17, 1e-3)


@pytest.mark.parametrize(
    "case", [c for c in floats(CASES) if c.operator.type not in TRAINING], ids=str
)
def test_a_written_operator_is_read_again(case):
    arrays = draw(case, "float32")
    graph = written.single(case.operator, arrays)
    again = read_model(to_model(graph))
    feeds = written.feeds_of(graph, arrays)
    expected, found = evaluate(graph, feeds), evaluate(again, feeds)
    for name, array in expected.items():
        largest = max(float(np.abs(array).max()), 1.0)
        np.testing.assert_allclose(found[name], array, rtol=0, atol=TOLERANCE * largest)
