"""The analysis as text and as data."""

import json

from float_networks import residual, samples
from quantized_pairs import change, quantized

from aidge_quant import analyze
from aidge_quant.report import Analysis, LayerRow, OutputRow

GOOD = LayerRow("a", "Add", ("add",), float("inf"), 30.0, 0.0, 0.1, 0.2, 1.0, None)
BAD = LayerRow("b", "Convolution", ("c", "r"), 10.0, 9.0, 0.5, None, None, None, 3.0, "more bits")


def test_the_table_has_the_worst_layer_first_with_its_advice():
    graph = residual()
    x = samples(graph, 40)
    copy = quantized(graph, x)
    change(copy, "conv3_w", lambda value: value // 2)
    lines = str(analyze(graph, copy, x)).splitlines()
    assert lines[0].startswith("network test: 40 samples; output: SQNR ")
    assert lines[1].split()[:4] == ["layer", "kind", "alone", "dB"]
    assert lines[2].split()[:2] == ["conv3", "Convolution"]
    assert any(line.startswith("advice: conv3: ") for line in lines)


def test_columns_are_aligned_and_missing_figures_are_dashes():
    text = str(Analysis("n", 5, (BAD, GOOD), (OutputRow("y", 9.0, None),), ("look",)))
    lines = text.splitlines()
    assert lines[0] == "network n: 5 samples; y: SQNR 9.0 dB"
    assert len({len(line) for line in lines[1:4]}) == 1
    assert lines[2].split()[-4:] == ["-", "-", "-", "3.0"]
    assert lines[3].split()[:4] == ["a", "Add", "inf", "30.0"]
    assert lines[4:] == ["advice: b: more bits", "warning: look"]


def test_the_dictionary_survives_json():
    ends = (OutputRow("y", float("inf"), 0.5), OutputRow("i", None, 1.0))
    found = Analysis("n", 5, (BAD, GOOD), ends, ("look",)).to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["rows"][1]["alone_db"] == "inf"
    assert found["rows"][0]["source"] == ["c", "r"]
    assert found["sqnr_db"] == "inf"
    assert found["agreement"] == 0.5


def test_overall_figures_are_those_of_the_worst_output():
    ends = (OutputRow("y", 20.0, 0.9), OutputRow("z", 30.0, None))
    analysis = Analysis("n", 5, (), ends, ())
    assert (analysis.sqnr_db, analysis.agreement) == (20.0, 0.9)
