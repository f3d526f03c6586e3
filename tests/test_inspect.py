"""``aidge-quant inspect`` shows every verdict of the quantizability report."""

import json

import onnx

from aidge_quant.cli import main


def test_inspect_shows_the_nodes_that_recipes_put_in(tmp_path, capsys):
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("Split", ["x"], ["a", "b"], name="split", axis=1, num_outputs=2),
        helper.make_node("Add", ["a", "b"], ["y"], name="add"),
    ]
    ends = (
        [helper.make_tensor_value_info("x", kind, (1, 4, 2, 2))],
        [helper.make_tensor_value_info("y", kind, (1, 2, 2, 2))],
    )
    model = helper.make_model(
        helper.make_graph(nodes, "split", *ends),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    onnx.save(model, tmp_path / "split.onnx")
    assert main(["inspect", str(tmp_path / "split.onnx"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["nodes"]
    assert [row["operator"] for row in rows] == ["Split", "Add", "Slice", "Slice"]
    assert {row["status"] for row in rows} == {"supported"}
