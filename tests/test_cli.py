"""The command line: what it says, its exit status, and what it leaves behind."""

import json
import shutil

import numpy as np
import pytest
import shared_data
from digits_example import MODEL, analyzed, export, said_as_json, write_samples
from onnx import TensorProto, helper, load, save

import aidge_quant as aq
from aidge_quant.cli import main


@pytest.fixture
def data(tmp_path):
    return write_samples(tmp_path / "data.npz")


def test_export_writes_a_folder_that_is_verified(data, tmp_path, capsys):
    assert export(data, tmp_path / "out", "--json") == 0
    found = said_as_json(capsys)
    assert found["verification"] == {"identical": 20, "total": 20}
    assert (tmp_path / "out" / "include" / "digits.h").is_file()


@pytest.mark.parametrize("form", ["qdq", "qop"])
def test_a_quantized_model_is_exported_as_it_is(data, tmp_path, capsys, form):
    with np.load(data) as arrays:
        images = next(arrays[name] for name in arrays.files if arrays[name].ndim == 4)
    graph = aq.load_onnx(MODEL)
    aq.auto_assign_node_precision(graph, aq.dtype.int8, aq.dtype.int8, aq.dtype.int32)
    aq.quantize_network(graph, images, single_shift=True)
    path = tmp_path / "quantized.onnx"
    aq.export_onnx(graph, path, form=form)
    arguments = ["export", str(path), "--calibration", str(data), "-o", str(tmp_path / "out")]
    assert main([*arguments, "--name", "digits", "--json"]) == 0
    found = said_as_json(capsys)
    assert found["verification"]["identical"] == found["verification"]["total"] > 0
    assert "quantized already" in found["notices"][0]
    assert found["figures"]["agreement"] > 0.9


def test_a_target_chooses_the_kernels_and_is_verified(data, tmp_path, capsys):
    assert export(data, tmp_path / "out", "--target", "cortex-m4", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verification"] == {"identical": 20, "total": 20}
    kernels = (tmp_path / "out" / "src" / "digits_kernels.h").read_text(encoding="utf-8")
    assert "digits_dsp_conv_s8" in kernels


def test_ram_takes_less_memory_and_is_verified(data, tmp_path, capsys):
    sizes = []
    for name, options in (("out", ()), ("less", ("--ram",))):
        assert export(data, tmp_path / name, *options, "--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert found["verification"] == {"identical": 20, "total": 20}
        sizes.append(found["sizes"]["ram"])
    assert sizes[1] < sizes[0]
    header = (tmp_path / "less" / "include" / "digits.h").read_text(encoding="utf-8")
    assert "int8_t *digits_input(digits_t *net);" in header


def test_a_region_is_filled_and_a_wrong_one_refused(data, tmp_path, capsys):
    assert export(data, tmp_path / "out", "--region", "dtcm=800", "--json") == 0
    sizes = json.loads(capsys.readouterr().out)["sizes"]
    assert 0 < sizes["regions"]["dtcm"] <= 800
    assert export(data, tmp_path / "bad", "--region", "a=80", "--region", "a=90") == 2
    assert "--region: expected every name once, came a, a" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        export(data, tmp_path / "bad", "--region", "dtcm")
    assert "expected NAME=BYTES, for example dtcm=16384, got 'dtcm'" in capsys.readouterr().err


def test_an_export_over_its_budget_is_refused(data, tmp_path, capsys):
    assert export(data, tmp_path / "out", "--ram", "--ram-budget", "100") == 2
    said = capsys.readouterr().err
    assert "expected at most 100; most is in use at" in said
    assert not (tmp_path / "out").exists()


def test_labels_are_those_of_the_samples(data, tmp_path, capsys):
    with np.load(data) as arrays:
        graph = aq.load_onnx(MODEL)
        best = {key: aq.run(graph, arrays[key]).argmax(1) for key in ("x_calib", "x_test")}
        expected = (best["x_test"] == arrays["y_test"]).mean()
        first = (best["x_calib"] == arrays["y_calib"])[:8].mean()
    assert export(data, tmp_path / "a", "--test", str(data), "--json", "--no-verify") == 0
    assert said_as_json(capsys)["figures"]["float_accuracy"] == pytest.approx(expected)
    assert export(data, tmp_path / "b", "--samples", "8", "--json", "--no-verify") == 0
    assert said_as_json(capsys)["figures"]["float_accuracy"] == pytest.approx(first)


def test_a_model_with_a_softmax_is_exported_with_a_note(data, tmp_path, capsys):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])
    weight = helper.make_tensor("w", TensorProto.FLOAT, [10, 64], np.linspace(-1, 1, 640))
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("Gemm", ["f", "w"], ["g"], transB=1),
        helper.make_node("Softmax", ["g"], ["y"], name="probabilities"),
    ]
    graph = helper.make_graph(nodes, "net", [x], [y], [weight])
    model = tmp_path / "softmax.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), model)
    assert export(data, tmp_path / "out", "--no-verify", model=model) == 0
    assert "probabilities (Softmax) is left out" in capsys.readouterr().out
    assert "left out" in (tmp_path / "out" / "metadata.json").read_text()


BAD_FILES = {
    "missing": (None, "data.npz does not exist, expected an .npy or .npz file"),
    "text": (b"not an archive", "not an .npy or .npz"),
    "empty": (b"", "not an .npy or .npz"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_calibration_file_is_refused(kind, tmp_path, capsys):
    content, message = BAD_FILES[kind]
    path = tmp_path / "data.npz"
    if content is not None:
        path.write_bytes(content)
    refused(path, tmp_path, capsys, message)


def test_a_folder_is_no_file(data, tmp_path, capsys):
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder", tmp_path, capsys, "folder is a folder, expected an .npy or .npz")
    refused(data, tmp_path, capsys, "folder is a folder", model=tmp_path / "folder")


def test_pickled_arrays_are_refused_without_advice_to_load_them(tmp_path, capsys):
    path = tmp_path / "data.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object))
    assert "allow_pickle" not in refused(
        path, tmp_path, capsys, "not an .npy or .npz file of plain"
    )


BAD_ARRAYS = {
    "number": (np.float32(3), "has shape"),
    "empty": (np.zeros((0, 1, 8, 8), np.float32), "expected samples"),
    "few": (np.ones((7, 1, 8, 8), np.float32), "give more, or use quantize_network"),
    "shape": (np.zeros((4, 1, 7, 8), np.float32), "expected ('batch', 1, 8, 8)"),
    "nan": (np.full((4, 1, 8, 8), np.nan, np.float32), "sample 0 holds NaN"),
    "huge": (np.full((9, 1, 8, 8), 1e300), "holds NaN or infinity"),
    "zeros": (np.zeros((9, 1, 8, 8), np.float32), "all values are 0"),
    "text": (np.full((4, 1, 8, 8), "a"), "expected numbers"),
    "complex": (np.zeros((4, 1, 8, 8), complex), "expected numbers"),
}


@pytest.mark.parametrize("kind", BAD_ARRAYS)
def test_bad_calibration_samples_are_refused(kind, tmp_path, capsys):
    array, message = BAD_ARRAYS[kind]
    path = tmp_path / "data.npz"
    np.savez(path, x=array)
    refused(path, tmp_path, capsys, message)


def test_unknown_arrays_are_named(tmp_path, capsys):
    path = tmp_path / "data.npz"
    np.savez(path, one=np.zeros((2, 2)), two=np.zeros((2, 2)))
    refused(path, tmp_path, capsys, "holds one, two, expected an array named calibration,")
    refused(path, tmp_path, capsys, "name it with --key")


def test_unknown_test_arrays_are_named(data, tmp_path, capsys):
    path = tmp_path / "test.npz"
    np.savez(path, one=np.zeros((2, 2)), two=np.zeros((2, 2)))
    assert export(data, tmp_path / "out", "--test", str(path)) == 2
    assert "name it with --test-key" in capsys.readouterr().err


def test_bad_test_samples_leave_nothing_behind(data, tmp_path, capsys):
    path = tmp_path / "test.npy"
    np.save(path, np.zeros((4, 1, 7, 8), np.float32))
    assert export(data, tmp_path / "out", "--test", str(path)) == 2
    assert "has shape (4, 1, 7, 8)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_open_size_is_given_on_the_command(data, tmp_path, capsys):
    loaded = load(MODEL)
    loaded.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    model = tmp_path / "open.onnx"
    save(loaded, model)
    refused(data, tmp_path, capsys, "or --input-dim input=1,1,?,8", model=model)
    options = ("--no-verify", "--input-dim", "input=1,1,8,8")
    assert export(data, tmp_path / "out", *options, model=model) == 0


@pytest.mark.parametrize("content", [None, b"", b"\x89PNG\r\n\x1a\n" * 9, b"hello"])
def test_a_bad_model_is_refused(content, data, tmp_path, capsys):
    model = tmp_path / "model.onnx"
    if content is not None:
        model.write_bytes(content)
    refused(data, tmp_path, capsys, "model.onnx", model=model)


def test_a_cut_model_is_refused(data, tmp_path, capsys):
    whole = MODEL.read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    refused(data, tmp_path, capsys, "cut.onnx", model=tmp_path / "cut.onnx")


@pytest.mark.parametrize("name", ["2fast", "int", "a b", "", "naïve"])
def test_a_bad_name_is_refused(name, data, tmp_path, capsys):
    refused(data, tmp_path, capsys, f"export name {name!r}", name=name)


def test_a_folder_in_the_way_is_kept(data, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("mine")
    assert export(data, tmp_path / "out") == 2
    assert "exists" in capsys.readouterr().err
    assert export(data, tmp_path / "out", "--overwrite") == 2
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["precious"]


def test_a_missing_compiler_is_found_before_the_work(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("CC", "/nonexistent/cc")
    refused(data, tmp_path, capsys, "/nonexistent/cc")
    assert export(data, tmp_path / "out", "--no-verify") == 0


def test_a_compiler_that_fails_leaves_nothing_behind(data, tmp_path, capsys, monkeypatch):
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho boom >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    assert "boom" in refused(data, tmp_path, capsys, "refused the C of digits")
    monkeypatch.delenv("CC")
    assert export(data, tmp_path / "out", "--no-verify") == 0
    before = (tmp_path / "out" / "metadata.json").read_bytes()
    monkeypatch.setenv("CC", str(compiler))
    assert export(data, tmp_path / "out", "--overwrite", "--samples", "16") == 2
    assert (tmp_path / "out" / "metadata.json").read_bytes() == before


def test_a_place_that_cannot_be_written_is_found_before_the_work(data, tmp_path, capsys):
    assert export(data, data / "out") == 2
    said = capsys.readouterr().err
    assert f"{data} is no folder that can be written" in said
    assert "reading" not in said


def test_an_unsupported_model_is_refused_with_every_node(data, tmp_path, capsys):
    model = shared_data.shared_path("data", "odd", "silero_vad_16k_op15.onnx")
    refused(data, tmp_path, capsys, "17 problems", model=model)


@pytest.mark.parametrize("options", [["--samples", "0"], ["--samples", "x"], ["--input-dim", "a"]])
def test_bad_options_are_refused_by_the_parser(options, data, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        export(data, tmp_path / "out", *options)
    assert caught.value.code == 2
    assert "_positive" not in capsys.readouterr().err


def test_analyze_prints_a_table_with_warnings(data, capsys):
    status, said = analyzed(capsys, data)
    assert status == 0
    assert said.out.startswith("network digits: 20 samples; ")
    assert "accumulated dB" in said.out
    assert "warning: the calibration set has 20 samples" in said.out


def test_analyze_compares_on_the_test_samples(data, capsys):
    status, said = analyzed(capsys, data, "--test", str(data), "--samples", "8", "--json")
    found = json.loads(said.out)
    assert status == 0
    assert "has 8 samples" in found["warnings"][0]
    levels = [row["alone_db"] for row in found["rows"]]
    assert levels == sorted(levels)
    assert {"conv1", "add4", "fc"} <= {row["layer"] for row in found["rows"]}
    with np.load(data) as arrays:
        graph = aq.load_onnx(MODEL)
        result = aq.quantize(graph, arrays["x_calib"][:8], effort="fast")
        expected = aq.analyze(graph, result.graph, arrays["x_test"])
    assert found["rows"] == expected.to_dict()["rows"]


def test_analyze_refuses_what_it_cannot_read(data, tmp_path, capsys):
    status, said = analyzed(capsys, tmp_path / "missing.npz")
    assert (status, "missing.npz does not exist" in said.err) == (2, True)
    status, said = analyzed(capsys, data, model=tmp_path / "missing.onnx")
    assert (status, "missing.onnx" in said.err) == (2, True)


def test_inspect_lists_the_nodes(capsys):
    assert main(["inspect", str(MODEL), "--json"]) == 0
    nodes = json.loads(capsys.readouterr().out)["nodes"]
    assert {"conv1", "add4", "fc"} <= {row["node"] for row in nodes}
    assert all(row["status"] == "supported" for row in nodes)


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("aidge-quant 0.")


def refused(data, folder, capsys, message, **options):
    """Expect status 2, one message, and nothing left behind."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    before = sorted(folder.iterdir())
    assert export(data, folder / "out", **options) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert sorted(folder.iterdir()) == before
    return said
