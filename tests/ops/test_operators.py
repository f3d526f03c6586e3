"""What holds for every operator: shapes, types, and the values of a plain formula."""

import numpy as np
import op_cases
import pytest
from op_cases import CASES, draw

from aidge_quant import ops
from aidge_quant.dtypes import dtype
from aidge_quant.errors import AidgeQuantError
from aidge_quant.onnx_io.converters import CONVERTERS

#: Float32 sums in another order: a few units in the last place of the largest value.
TOLERANCE = 2e-6

INTEGERS = [case for case in CASES if case.integers]
FLOATS = [c for c in CASES if c.operator.type != "Dequantizer" and not c.types]
TYPED = [case for case in CASES if case.types]


def outputs(result) -> tuple[np.ndarray, ...]:
    """Return the outputs of an operator or a formula as a tuple."""
    return result if isinstance(result, tuple) else (result,)


def test_every_operator_has_a_case():
    covered = {case.operator.type for case in CASES} | op_cases.SOURCES
    assert covered == set(ops.registered())


@pytest.mark.parametrize("case", FLOATS, ids=str)
def test_float_values_are_those_of_the_formula(case):
    arrays = draw(case, "float32")
    expected = outputs(case.expected(*(array.astype(np.float64) for array in arrays)))
    for found, wanted in zip(outputs(case.operator.forward(*arrays)), expected, strict=True):
        largest = max(float(np.abs(wanted).max()), 1.0)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=TOLERANCE * largest)


@pytest.mark.parametrize("case", INTEGERS, ids=str)
def test_integers_are_exact(case):
    arrays = draw(case, "int8")
    expected = outputs(case.expected(*(array.astype(np.int64) for array in arrays)))
    for found, wanted in zip(outputs(case.operator.forward(*arrays)), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("case", TYPED, ids=str)
def test_quantized_values_are_those_of_the_formula(case):
    arrays = draw(case, "")
    expected = outputs(case.expected(*arrays))
    for found, wanted in zip(outputs(case.operator.forward(*arrays)), expected, strict=True):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
        assert len(np.unique(wanted)) > 4 or wanted.ndim == 0


@pytest.mark.parametrize(
    ("case", "kind"),
    [(case, "float32") for case in (*FLOATS, *TYPED)] + [(case, "int8") for case in INTEGERS],
    ids=str,
)
def test_inferred_shapes_and_types_are_those_of_the_result(case, kind):
    arrays = draw(case, kind)
    found = outputs(case.operator.forward(*arrays))
    assert case.operator.infer_shapes(*case.shapes) == tuple(array.shape for array in found)
    types = case.operator.infer_dtype(*(dtype.of(array) for array in arrays))
    assert types == tuple(dtype.of(array) for array in found)
    assert len(found) == case.operator.output_count


@pytest.mark.parametrize("case", [*FLOATS, *TYPED], ids=str)
def test_inputs_are_left_as_they_were(case):
    arrays = draw(case, "float32")
    kept = [array.copy() for array in arrays]
    case.operator.forward(*arrays)
    for array, copy in zip(arrays, kept, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_missing_input_is_an_error_of_ours(case):
    with pytest.raises(AidgeQuantError, match="missing|expected"):
        case.operator.infer_shapes(*(None for _ in case.shapes))
    with pytest.raises(AidgeQuantError, match="missing|expected"):
        case.operator.forward(*(None for _ in case.shapes))


@pytest.mark.parametrize("name", ops.registered())
def test_every_operator_says_its_onnx_form_or_why_there_is_none(name):
    cls = ops.registered()[name]
    assert bool(cls.onnx) != bool(cls.onnx_reason)
    assert set(cls.onnx or ()) <= set(CONVERTERS)
    assert set(cls.onnx_attributes.values()) <= set(cls.__dataclass_fields__)
    assert (cls.__doc__ or "").strip()
