"""verify_c finds a difference, says where, and refuses what it cannot compare."""

import numpy as np
import pytest
from c_builds import build_named
from random_networks import inputs_for
from small_networks import small_network

from aidge_quant.errors import ExportError, FileError
from aidge_quant.export import export_c, run_c, verify_c
from aidge_quant.export.verify import Mismatch, compare


@pytest.fixture(scope="module")
def build():
    return build_named("gcc-O2")


def test_an_export_is_identical_on_every_sample(tmp_path, build):
    network = small_network("residual")
    q = inputs_for(network, 7)
    check = verify_c(export_c(network, tmp_path / "x", name="kws"), network, q)
    assert check
    assert (check.identical, check.total, check.first_mismatch) == (7, 7, None)


def test_several_inputs_and_outputs_come_back_by_name(tmp_path, build):
    network = small_network("ends")
    q = inputs_for(network, 3)
    got = run_c(export_c(network, tmp_path / "x", name="kws"), network, q, **build.options)
    expected = network.run(q)
    assert list(got) == list(expected)
    for name in expected:
        assert got[name].dtype == expected[name].dtype
        assert (got[name] == expected[name]).all()


def test_a_wrong_weight_is_found_and_located(tmp_path, build):
    network = small_network("fc_logits")
    folder = export_c(network, tmp_path / "x", name="kws")
    weights = folder / "src" / "kws_weights.h"
    text = weights.read_text()
    bias = int(network.layers[0].bias[0])
    assert f"    {bias}," in text
    weights.write_text(text.replace(f"    {bias},", f"    {bias + 1},"))
    q = inputs_for(network, 4)
    check = verify_c(folder, network, q, **build.options)
    expected = int(network.run(q)[0, 0])
    assert not check
    assert (check.identical, check.total) == (0, 4)
    assert check.first_mismatch == Mismatch(0, "out:0", (0,), expected, expected + 1)
    assert str(check.first_mismatch) == f"case 0, out:0[0]: expected {expected}, got {expected + 1}"


def test_identical_counts_samples():
    network = small_network("fc")
    expected = network.run(inputs_for(network, 5))
    got = np.array(expected)
    got[1, 3] += 1
    got[4, :] += 1
    check = compare(network, expected, got)
    assert (check.identical, check.total) == (3, 5)
    assert check.first_mismatch.case == 1
    assert check.first_mismatch.index == (3,)


def test_an_export_of_another_network_is_refused(tmp_path):
    folder = export_c(small_network("fc"), tmp_path / "x", name="kws")
    other = small_network("fc_even")
    with pytest.raises(ExportError, match="export it again"):
        verify_c(folder, other, inputs_for(other))


def test_a_folder_that_is_no_export_is_refused(tmp_path):
    network = small_network("fc")
    with pytest.raises(FileError, match="not a folder written by export_c"):
        verify_c(tmp_path, network, inputs_for(network))


def test_a_missing_compiler_is_named_with_the_remedy(tmp_path, monkeypatch):
    network = small_network("fc")
    folder = export_c(network, tmp_path / "x", name="kws")
    with pytest.raises(ExportError, match="no_such_cc.*install gcc or clang"):
        verify_c(folder, network, inputs_for(network), compiler="no_such_cc")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(ExportError, match="no C compiler found"):
        verify_c(folder, network, inputs_for(network))


def test_what_the_compiler_says_is_repeated(tmp_path, build):
    network = small_network("fc")
    folder = export_c(network, tmp_path / "x", name="kws")
    (folder / "src" / "kws.c").write_text("#error broken\n")
    with pytest.raises(ExportError, match=r"refused the C of kws(.|\n)*#error broken"):
        verify_c(folder, network, inputs_for(network), **build.options)


def test_a_program_that_fails_is_reported(tmp_path, build):
    network = small_network("fc")
    folder = export_c(network, tmp_path / "x", name="kws")
    source = folder / "src" / "kws.c"
    source.write_text(source.read_text() + "\n__attribute__((constructor)) static void stop(void)"
                      "\n{\n    __builtin_trap();\n}\n")  # fmt: skip
    with pytest.raises(ExportError, match="the program of kws failed"):
        run_c(folder, network, inputs_for(network), compiler=build.compiler)
