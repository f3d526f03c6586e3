"""GraphView: order, edges, copies, checks and pictures. Operators are stand-ins."""

from dataclasses import dataclass

import pytest

from aidge_quant.errors import GraphError
from aidge_quant.graph import GraphView, Port


@dataclass(frozen=True)
class Op:
    """An operator as the graph sees it."""

    type: str = "Op"
    output_count: int = 1


def diamond():
    """Return x -> left, right -> join, with output y."""
    graph = GraphView("diamond")
    x = graph.add_input(Op("Input"), "x")
    left = graph.add(Op(), [x], "left")
    right = graph.add(Op(output_count=2), [x], "right")
    join = graph.add(Op(), [left, Port(right, 1)], "join")
    graph.add_output(join, "y")
    graph.check()
    return graph


def names(nodes):
    """Return the names of nodes."""
    return [node.name for node in nodes]


def test_the_order_follows_the_edges_then_the_insertion():
    graph = diamond()
    assert names(graph.topological()) == ["x", "left", "right", "join"]
    late = graph.add(Op(), [graph.inputs[0]], "late")
    graph.set_input(graph.node("left"), 0, late)
    assert names(graph) == ["x", "right", "late", "left", "join"]
    assert names(graph.clone()) == names(graph)


def test_a_cycle_is_refused_with_its_nodes():
    graph = diamond()
    graph.set_input(graph.node("left"), 0, graph.node("join"))
    with pytest.raises(GraphError, match="cycle among: left, join"):
        graph.topological()
    with pytest.raises(GraphError, match="cycle"):
        graph.check()


def test_inserting_after_moves_every_reader_and_the_outputs():
    graph = diamond()
    added = graph.insert_after(graph.node("x"), Op(), "scale")
    assert names(graph.consumers(graph.node("x"))) == ["scale"]
    assert names(graph.consumers(added)) == ["left", "right"]
    graph.insert_after(graph.node("join"), Op(), "end")
    assert [(o.name, o.port.node.name) for o in graph.outputs] == [("y", "end")]


def test_inserting_before_moves_one_edge():
    graph = diamond()
    graph.insert_before(graph.node("join"), 1, Op(), "on_edge")
    assert graph.node("join").input(1).node.name == "on_edge"
    assert graph.node("on_edge").input(0) == Port(graph.node("right"), 1)
    assert graph.node("join").input(0).node.name == "left"


def test_bypassing_reconnects_the_readers():
    graph = diamond()
    graph.bypass(graph.node("left"))
    assert graph.node("join").input(0).node.name == "x"
    assert "left" not in names(graph.nodes)
    graph.check()


def test_a_node_that_is_read_cannot_be_removed():
    graph = diamond()
    with pytest.raises(GraphError, match="cannot remove left: still read by join"):
        graph.remove(graph.node("left"))
    with pytest.raises(GraphError, match="still read by y"):
        graph.remove(graph.node("join"))


def test_dead_nodes_are_removed_and_inputs_kept():
    graph = diamond()
    graph.add_input(Op("Input"), "unused")
    graph.add(Op(), [graph.add(Op(), [graph.node("x")], "dead")], "deader")
    assert graph.remove_dead_nodes() == 2
    assert names(graph.inputs) == ["x", "unused"]
    graph.check()


def test_uses_tell_slot_and_output():
    graph = diamond()
    (use,) = graph.uses(graph.node("right"))
    assert (use.node.name, use.slot, use.index) == ("join", 1, 1)
    assert graph.sole_consumer(graph.node("right")).name == "join"
    assert graph.sole_consumer(graph.node("x")) is None
    assert graph.sole_consumer(graph.node("join")) is None
    assert graph.is_output(graph.node("join"))


def test_names_are_unique():
    graph = diamond()
    for attempt in (
        lambda: graph.add(Op(), [], "left"),
        lambda: graph.rename(graph.node("right"), "left"),
        lambda: graph.add_output(graph.node("left"), "y"),
    ):
        with pytest.raises(GraphError, match="already has"):
            attempt()
    assert graph.unique_name("left") == "left_1"
    assert graph.add(Op()).name == "Op"
    assert graph.add(Op()).name == "Op_1"
    graph.rename(graph.node("left"), "port_side")
    assert names(graph)[1] == "port_side"


def test_a_clone_is_independent():
    graph = diamond()
    graph.node("left").annotations["scale"] = [1]
    copied = graph.clone()
    copied.node("left").annotations["scale"].append(2)
    copied.bypass(copied.node("left"))
    assert graph.node("left").annotations["scale"] == [1]
    assert len(graph) == 4
    assert all(node not in graph for node in copied)
    graph.become(copied)
    assert len(graph) == 3
    graph.check()


def test_foreign_nodes_are_refused():
    graph, other = diamond(), diamond()
    with pytest.raises(GraphError, match="not a node of graph"):
        graph.add(Op(), [other.node("x")])
    with pytest.raises(GraphError, match="no node named 'nobody'"):
        graph.node("nobody")


def test_the_check_lists_every_fault():
    graph = diamond()
    graph.set_input(graph.node("left"), 0, Port(graph.node("x"), 3))
    graph.set_input(graph.node("right"), 0, Port(graph.node("x"), 4))
    with pytest.raises(
        GraphError, match="left input 0: x has no output 3; right input 0.*output 4"
    ):
        graph.check()
    with pytest.raises(GraphError, match="there is no output"):
        GraphView().check()


def test_the_text_shows_every_node_in_order():
    assert str(diamond()).splitlines() == [
        "graph diamond",
        "  x = Input() {type=Input, output_count=1}",
        "  left = Op(x) {type=Op, output_count=1}",
        "  right = Op(x) {type=Op, output_count=2}",
        "  join = Op(left, right:1) {type=Op, output_count=1}",
        "  output y = join",
    ]


def test_the_mermaid_picture_has_every_edge_and_no_raw_quotes():
    graph = diamond()
    graph.rename(graph.node("left"), 'a "b" <c>')
    text = graph.mermaid()
    assert text.startswith("flowchart TD\n")
    assert 'n1["a &quot;b&quot; &lt;c&gt;<br/><i>Op</i>"]' in text
    for edge in ("n0 -->|0| n1", "n0 -->|0| n2", "n1 -->|0| n3", "n2 -->|1| n3", "n3 --> out0"):
        assert edge in text
