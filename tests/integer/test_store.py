"""Saved networks come back the same, and files that cannot be networks are refused."""

import dataclasses
import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from random_networks import inputs_for, integer_networks
from tiny_network import network, with_layer, with_tensor

from aidge_quant.errors import FileError
from aidge_quant.integer.store import load_network

TINY = network()


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(integer_networks(max_layers=8))
def test_a_network_comes_back_the_same(tmp_path, drawn):
    path = tmp_path / "network.aqn"
    drawn.save(path)
    loaded = load_network(path)
    assert loaded.digest == drawn.digest
    assert str(loaded) == str(drawn)
    assert loaded.metadata == drawn.metadata
    assert [layer.source for layer in loaded.layers] == [layer.source for layer in drawn.layers]
    q = inputs_for(drawn, 2, 3)
    _, expected = drawn.run(q, intermediates=True)
    _, tensors = loaded.run(q, intermediates=True)
    assert all(np.array_equal(tensors[name], expected[name]) for name in expected)
    first = path.read_bytes()
    loaded.save(path)
    assert path.read_bytes() == first


def changed_weight():
    weight = TINY.layers[0].weight.copy()
    weight[2, 1, 1, 0] ^= 1
    return with_layer("conv", weight=weight)


DIFFERENT = {
    "weight": changed_weight,
    "bias": lambda: with_layer("fc", bias=np.array([3, -5], np.int32)),
    "multipliers": lambda: with_layer("add", multipliers=(1, 2)),
    "scale": lambda: with_tensor("y", scale=np.array([0.5, 0.125])),
    "output-name": lambda: network(output_names=("result",)),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_the_digest_changes_with_what_decides_the_results(case):
    assert DIFFERENT[case]().digest != TINY.digest


def test_the_digest_ignores_provenance():
    renamed = tuple(dataclasses.replace(layer, source=()) for layer in TINY.layers)
    assert network(name="other", metadata={"date": "today"}, layers=renamed).digest == TINY.digest
    assert network().digest == TINY.digest


# -- files that are refused ----------------------------------------------------------------


def parts(path):
    with np.load(path) as archive:
        arrays = dict(archive)
    return json.loads(arrays.pop("header").tobytes()), arrays


def rewritten(tmp_path, change):
    """Return the path of the saved network after a change of its header."""
    path = tmp_path / "changed.aqn"
    TINY.save(path)
    header, arrays = parts(path)
    change(header)
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, header=text, **arrays)
    path.write_bytes(buffer.getvalue())
    return path


def set_in(*keys, value):
    def change(header):
        for key in keys[:-1]:
            header = header[key]
        header[keys[-1]] = value

    return change


def removed(*keys):
    def change(header):
        for key in keys[:-1]:
            header = header[key]
        del header[keys[-1]]

    return change


HEADERS = {
    "format": (set_in("format", value="something"), "its format is 'something'"),
    "version": (set_in("version", value=99), "its format version is 99, expected 1"),
    "contract": (set_in("network", "contract", value=7), "its integer contract is 7"),
    "layer-kind": (
        set_in("network", "layers", 0, "class", value="Warp"),
        "it holds a Warp, which this version does not know",
    ),
    "field-missing": (
        removed("network", "layers", 0, "fields", "stride"),
        "a Convolution in it has fields",
    ),
    "array-missing": (
        set_in("network", "layers", 0, "fields", "weight", value={"array": "array99"}),
        "damaged or of another kind",
    ),
    "invalid": (
        set_in("network", "layers", 0, "fields", "groups", value=2),
        "its network is not valid: conv (Convolution): 2 groups",
    ),
    "no-network": (removed("network"), "damaged or of another kind"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_header_that_does_not_fit_is_refused(tmp_path, case):
    change, message = HEADERS[case]
    path = rewritten(tmp_path, change)
    with pytest.raises(FileError) as raised:
        load_network(path)
    assert message in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(FileError, match="No such file"):
        load_network(tmp_path / "nothing.aqn")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(FileError, match="cannot read"):
        load_network(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a network", b"PK\x03\x04" + bytes(100)])
def test_another_kind_of_file_is_refused(tmp_path, content):
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(FileError, match="damaged or of another kind"):
        load_network(path)


def test_another_npz_is_refused(tmp_path):
    np.savez(tmp_path / "data.npz", x=np.zeros(3))
    with pytest.raises(FileError, match="another kind"):
        load_network(tmp_path / "data.npz")


def test_pickles_are_not_read(tmp_path):
    path = tmp_path / "pickle.npz"
    np.savez(path, header=np.array([{"format": "x"}], dtype=object))
    with pytest.raises(FileError):
        load_network(path)


def test_a_file_cut_or_flipped_anywhere_is_refused(tmp_path):
    path = tmp_path / "network.aqn"
    TINY.save(path)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        ends = [info.header_offset + 100 for info in archive.infolist()]
    for cut in (*range(0, len(whole), 97), len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(FileError):
            load_network(path)
    for place in ends:  # inside the data of every member
        flipped = bytearray(whole)
        flipped[place] ^= 4
        path.write_bytes(flipped)
        with pytest.raises(FileError):
            load_network(path)


def test_saving_replaces_the_file_or_leaves_it(tmp_path):
    path = tmp_path / "network.aqn"
    path.write_bytes(b"before")
    TINY.save(path)
    assert load_network(path).digest == TINY.digest
    with pytest.raises(FileError, match="cannot write"):
        TINY.save(tmp_path / "absent" / "network.aqn")
    with pytest.raises(FileError, match="cannot write"):
        TINY.save(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["network.aqn"]


def test_the_table_names_layers_totals_and_ends():
    text = str(TINY)
    lines = text.splitlines()
    assert lines[0] == "integer network tiny, contract 1"
    assert lines[1] == "input image: int8 3x4x5, scale 0.00787402, zero point 0"
    assert lines[2] == "output logits: int32 2, scale 0.25 to 0.5 by channel, zero point 0"
    row = "conv Convolution 4x5x3 int8 1,620 96 8 to 10"
    assert lines[4].split() == row.split()
    assert lines[-1].split() == ["total", "1,626", "110"]
