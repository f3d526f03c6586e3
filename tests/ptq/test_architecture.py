"""Which types nodes get, and which networks are refused."""

import pytest
from float_networks import NETWORKS, Net, chain, residual
from ptq_steps import annotated

from aidge_quant.dtypes import dtype
from aidge_quant.errors import DtypeError
from aidge_quant.graph import Annotation
from aidge_quant.ops import MatMul, Softmax
from aidge_quant.ptq import (
    auto_assign_node_precision,
    check_architecture,
    quantizability_report,
)


def test_precision_depends_on_the_role():
    graph = residual()
    auto_assign_node_precision(graph, dtype.int16, dtype.int4, dtype.int32)
    notes = {node.name: node.annotations for node in graph.nodes}
    assert notes["conv1_w"][Annotation.PRECISION] is dtype.int4
    assert notes["conv1_b"][Annotation.PRECISION] is dtype.int32
    for name in ("conv1", "add1"):
        assert notes[name][Annotation.PRECISION] is dtype.int16
        assert notes[name][Annotation.ACCUMULATION_PRECISION] is dtype.int32
    assert notes["add1"][Annotation.IS_MERGING]
    assert notes["gap"] == {Annotation.PRECISION: dtype.int16}


def test_precision_that_was_set_by_hand_stays():
    graph = chain()
    graph.node("conv1_w").annotations[Annotation.PRECISION] = dtype.int4
    annotated(graph)
    assert graph.node("conv1_w").annotations[Annotation.PRECISION] is dtype.int4


def test_precision_must_be_a_dtype():
    with pytest.raises(DtypeError, match="'int8'"):
        auto_assign_node_precision(chain(), "int8", dtype.int8, dtype.int32)


@pytest.mark.parametrize("name", NETWORKS)
def test_supported_architecture_is_accepted_and_not_changed(name):
    graph = NETWORKS[name]()
    before = str(graph)
    assert check_architecture(graph)
    assert str(graph) == before


def test_report_prints_and_returns_a_row_for_each_node(capsys):
    net = Net((4, 4))
    net.fc("fc", (4, 4))
    net.add(MatMul(), "attention", net.last, net.last)
    net.add(Softmax(-1), "softmax")
    graph = net.done()
    rows = {row.node: row for row in quantizability_report(graph)}
    text = capsys.readouterr().out
    assert rows["fc"].status == "supported"
    assert rows["attention"].status == "not supported"
    assert rows["attention"].remedy
    assert rows["softmax"].status == "stays in float"
    assert all(name in text for name in rows)
    assert "1 of 4 nodes are not supported" in text
    assert not check_architecture(graph)


def test_report_is_its_rows_and_as_text_its_table(capsys):
    report = quantizability_report(residual())
    assert str(report) in capsys.readouterr().out
    assert len(str(report).splitlines()) == len(report) + 1
    assert report.unsupported == []
    assert report.verdict == "all nodes supported"
