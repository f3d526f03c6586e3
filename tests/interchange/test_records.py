"""Exact factors and roundings in the metadata of a model."""

import json

import numpy as np
import pytest
from qdq_models import QdqModel

import aidge_quant as aq
from aidge_quant.interchange import from_qdq
from aidge_quant.interchange.importing.ratios import best_pair
from aidge_quant.interchange.importing.records import KEY
from aidge_quant.onnx_io.reader import read_model

IN = (0.0213, 0, "int8")
OUT = (0.0471, 0, "int8")
SHAPE = (4, 6, 6)


def with_records(built, entries):
    graph = read_model(built)
    graph.metadata[KEY] = entries if isinstance(entries, str) else json.dumps(entries)
    from_qdq(graph)
    return aq.lower(graph)


def conv_model(scale):
    m = QdqModel(SHAPE)
    y = m.node("Conv", m.through("x", IN), m.weight((4, 4, 3, 3), scale), pads=[1, 1, 1, 1])
    return m.build(m.dequantize(m.quantize(y, OUT, name="out"), OUT))


def test_an_exact_shift_is_used():
    built = conv_model(np.float32(OUT[0] * 2.0**-9 / IN[0]))
    entry = {"factor": repr(2.0**-9), "rounding": "half_up", "shift": True}
    (layer,) = with_records(built, {"out": entry}).layers
    assert layer.requantization.multiplier is None
    assert layer.requantization.shift.tolist() == [9]
    assert layer.requantization.rounding == "half_up"


def test_factors_may_differ_by_channel():
    scales = np.float32(OUT[0] * 2.0 ** -np.array([8, 9, 10, 9]) / IN[0])
    entry = {"factor": [repr(2.0**-k) for k in (8, 9, 10, 9)], "rounding": "half_even"}
    (layer,) = with_records(conv_model(scales), {"out": entry}).layers
    assert layer.requantization.shift.tolist() == [8, 9, 10, 9]


@pytest.mark.parametrize("entries", [{"out": {"factor": 0.5, "rounding": "half_up"}}, "{broken"])
def test_what_does_not_fit_the_scales_is_ignored_with_a_warning(entries, caplog):
    built = conv_model(np.float32(OUT[0] * 2.0**-9 / IN[0] * 1.1))
    with caplog.at_level("WARNING", "aidge_quant"):
        (layer,) = with_records(built, entries).layers
    assert layer.requantization.multiplier is not None
    assert "exact factor" in caplog.text or "malformed" in caplog.text


def test_multipliers_of_a_sum_are_used():
    m = QdqModel(SHAPE)
    x = m.through("x", IN)
    other = m.through(m.node("Relu", x), (IN[0] * 3, 0, "int8"))
    y = m.quantize(m.node("Add", x, other), (IN[0] * 4, 0, "int8"), name="out")
    built = m.build(m.dequantize(y, (IN[0] * 4, 0, "int8")))
    entry = {"factor": 2.0**-7, "rounding": "half_up", "inputs": [32, 96], "shift": True}
    layer = with_records(built, {"out": entry}).layers[-1]
    assert layer.multipliers == (32, 96)
    assert layer.requantization.shift.tolist() == [7]
    layer = with_records(built, {}).layers[-1]
    assert layer.multipliers == (1, 3)
    assert layer.requantization.shift.tolist() == [2]


def test_a_rescale_takes_its_multiplier():
    m = QdqModel(SHAPE)
    grid = (np.float32(IN[0] * 128 / 77), 0, "int8")
    y = m.quantize(m.through("x", IN), grid, name="out")
    entry = {"factor": 2.0**-7, "rounding": "half_up", "inputs": [77], "shift": True}
    (layer,) = with_records(m.build(m.dequantize(y, grid)), {"out": entry}).layers
    assert layer.multiplier == 77
    assert layer.requantization.shift.tolist() == [7]


def test_an_average_may_round_half_up():
    m = QdqModel(SHAPE)
    y = m.node("AveragePool", m.through("x", IN), kernel_shape=[3, 3])
    built = m.build(m.dequantize(m.quantize(y, IN, name="out"), IN))
    entry = {"factor": repr(1 / 9), "rounding": "half_up"}
    (layer,) = with_records(built, {"out": entry}).layers
    assert layer.requantization is None
    (layer,) = with_records(built, {}).layers
    assert layer.requantization.rounding == "half_even"
    fixed = round(2**33 / 9) * 2.0**-33
    entry = {"factor": repr(fixed), "rounding": "half_up"}
    (layer,) = with_records(built, {"out": entry}).layers
    assert layer.requantization.multiplier is not None
    assert layer.requantization.rounding == "half_up"


@pytest.mark.parametrize("ratio", [1.0, 3.0, 2 / 3, np.pi, 1 / np.e, 200.5, 1 / 3000.7])
def test_the_best_pair_is_the_best(ratio):
    a, b = best_pair(ratio, 1.0, 100)
    small, large, wanted = (a, b, ratio) if ratio < 1 else (b, a, 1 / ratio)
    each = np.arange(1, 101)
    nearest = np.abs(each[:, None] / each - wanted).min()
    assert abs(small / large - wanted) <= nearest * (1 + 1e-9)
