"""The exported folder: complete, the same every time, all of it or nothing."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest
from random_networks import inputs_for
from small_networks import Builder, small_network

from aidge_quant.errors import DtypeError, ExportError, FileError
from aidge_quant.export import calls, check_export, export_c, read_metadata
from aidge_quant.integer import layers as il

FILES = {
    "README.md", "Makefile", "CMakeLists.txt", "metadata.json", "include/kws.h", "src/kws.c",
    "src/kws_kernels.h", "src/kws_weights.h", "test/kws_selftest.c", "test/kws_golden.h",
}  # fmt: skip


def contents(folder) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_folder_has_exactly_the_documented_files(tmp_path):
    folder = export_c(small_network("residual"), tmp_path / "out", name="kws")
    assert set(contents(folder)) == FILES


def test_two_exports_are_equal_to_the_byte(tmp_path):
    for place in ("one", "two/deep"):
        network = small_network("residual")
        q = inputs_for(network)
        export_c(network, tmp_path / place, name="kws", test_inputs=q, options={"b": "2", "a": "1"})
    assert contents(tmp_path / "one") == contents(tmp_path / "two/deep")


def test_no_file_names_the_folder_or_has_other_line_ends(tmp_path):
    for data in contents(export_c(small_network("residual"), tmp_path / "x", name="kws")).values():
        assert str(tmp_path).encode() not in data
        assert b"\r" not in data
        assert b"\t" not in data.replace(b"\n\t", b"\n")
        assert data.endswith(b"\n")
        assert not data.endswith(b"\n\n")
        assert not any(line.endswith(b" ") for line in data.split(b"\n"))


def test_lines_of_c_stay_within_100_columns(tmp_path):
    names = ("residual", "transposed_int4", "conv_scale_even", "average_divide", "concat")
    for name in (*names, "depthwise", "rescale", "conv_int4", "conv_int16"):
        network = small_network(name)
        for path, data in contents(export_c(network, tmp_path / name, name="kws")).items():
            if path.endswith((".c", ".h")):
                long = [line for line in data.decode().splitlines() if len(line) > 100]
                assert long == [], path


def test_only_the_kernels_that_are_used_are_printed(tmp_path):
    text = (
        export_c(small_network("fc"), tmp_path / "x", name="kws") / "src/kws_kernels.h"
    ).read_text()
    assert "kws_dsp_conv_s8_odd(" in text
    assert "depthwise" not in text
    assert "kws_dsp_widen" not in text
    assert "int64_t" not in text


def test_metadata_tells_what_was_exported(tmp_path):
    network = dataclasses.replace(small_network("residual"), metadata={"model_sha256": "abc"})
    folder = export_c(network, tmp_path / "x", name="kws", options={"single_shift": "true"})
    metadata = read_metadata(folder)
    assert metadata["name"] == "kws"
    assert metadata["digest"] == network.digest
    assert metadata["provenance"] == {"model_sha256": "abc"}
    assert metadata["options"] == {"single_shift": "true"}
    assert [row["name"] for row in metadata["layers"]] == [x.name for x in network.layers]
    assert set(metadata["files"]) == FILES - {"metadata.json"}
    for path, digest in metadata["files"].items():
        assert hashlib.sha256((folder / path).read_bytes()).hexdigest() == digest


def test_int4_weights_take_half_a_byte(tmp_path):
    # 9 x 13 weights in words of 2 x 4, and 9 biases.
    folder = export_c(small_network("fc_int4"), tmp_path / "x", name="kws")
    assert read_metadata(folder)["sizes"]["parameters"] == 5 * 4 * 4 + 4 * 9


def test_an_existing_folder_is_not_touched(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    network = small_network("fc")
    for overwrite in (False, True):
        with pytest.raises(FileError, match="mine"):
            export_c(network, tmp_path / "mine", name="kws", overwrite=overwrite)
    assert contents(tmp_path / "mine") == {"letter.txt": b"dear"}
    with pytest.raises(FileError, match="is a file"):
        check_export(tmp_path / "mine" / "letter.txt", name="kws")


def test_an_earlier_export_is_replaced_only_if_asked(tmp_path):
    folder = export_c(small_network("fc"), tmp_path / "x", name="kws")
    before = contents(folder)
    with pytest.raises(FileError, match="overwrite"):
        export_c(small_network("conv"), folder, name="kws")
    assert contents(folder) == before
    export_c(small_network("conv"), folder, name="ic", overwrite=True)
    assert "src/ic.c" in contents(folder)
    assert "src/kws.c" not in contents(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "x").mkdir()
    assert set(contents(export_c(small_network("fc"), tmp_path / "x", name="kws"))) == FILES


@pytest.mark.parametrize("overwrite", [False, True])
def test_nothing_is_left_when_writing_fails(tmp_path, monkeypatch, overwrite):
    folder = tmp_path / "x"
    if overwrite:
        export_c(small_network("fc"), folder, name="kws")
    before = contents(tmp_path)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", fail)
    with pytest.raises(FileError, match="No space left"):
        export_c(small_network("conv"), folder, name="kws", overwrite=overwrite)
    assert contents(tmp_path) == before
    assert folder.exists() == overwrite


def test_a_bad_name_leaves_nothing(tmp_path):
    with pytest.raises(ExportError, match="not a C identifier"):
        export_c(small_network("fc"), tmp_path / "x", name="a b")
    assert list(tmp_path.iterdir()) == []


def test_bad_test_inputs_leave_nothing(tmp_path):
    with pytest.raises(DtypeError):
        export_c(
            small_network("fc"), tmp_path / "x", name="kws", test_inputs=np.zeros((1, 13), np.int16)
        )
    assert list(tmp_path.iterdir()) == []


def test_all_layers_without_c_are_named_at_once(tmp_path, monkeypatch):
    for kind in (il.MaxPool, il.Clamp):
        monkeypatch.delitem(calls.LAYERS, kind)
    with pytest.raises(ExportError) as caught:
        export_c(small_network("residual"), tmp_path / "x", name="kws")
    assert "2 of 7 layers" in str(caught.value)
    assert "maxpool/4 (MaxPool)" in str(caught.value)
    assert "clamp/3 (Clamp)" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_names_of_a_model_cannot_become_c(tmp_path):
    evil = 'x */ int main(void) { return 1; } /* "\\\n#error\r\n??/ é'
    b = Builder(0)
    tensor = b.input((3,))
    y = b.add(il.Clamp, [tensor], (3,), lower=-5, upper=5)
    z = b.add(il.Clamp, [y], (3,), lower=-4, upper=4)
    network = b.network(z, y)
    network = dataclasses.replace(
        network,
        name=evil,
        layers=tuple(dataclasses.replace(x, name=evil + x.name) for x in network.layers),
        output_names=(evil, evil + "2"),
        input_names=(evil,),
        metadata={"model": evil},
    )
    for path, data in contents(export_c(network, tmp_path / "x", name="kws")).items():
        text = data.decode("ascii")
        assert (
            "int main(void) { return" not in text
            or path in ("metadata.json",)
            or "*/"
            not in [line for line in text.splitlines() if "return 1" in line and "x */" in line]
        )
        assert "x */" not in text or path == "metadata.json"
        assert not any(line.startswith("#error") for line in text.splitlines())
    json.loads((tmp_path / "x" / "metadata.json").read_text())
