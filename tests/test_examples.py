"""The committed example is what the code gives now."""

import filecmp
import runpy
import shutil
import subprocess
import sys

import pytest
import shared_data
from c_builds import absent

import aidge_quant as aq

DIGITS = shared_data.CHECKOUT / "export_examples" / "digits"


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def differing(folder, tmp_path):
    """Return the files of the committed C that differ from a new export of the same integers."""
    regenerate = runpy.run_path(str(DIGITS / "regenerate.py"))
    regenerate["write"](aq.load_network(DIGITS / "digits.aqn"), tmp_path / "c")
    assert files(tmp_path / "c") == files(folder)
    return [
        name
        for name in files(folder)
        if not filecmp.cmp(folder / name, tmp_path / "c" / name, shallow=False)
    ]


def test_the_committed_c_is_that_of_the_committed_network(tmp_path):
    remedy = "python export_examples/digits/regenerate.py writes it anew; review the difference"
    assert differing(DIGITS / "c", tmp_path) == [], remedy


def test_a_changed_file_is_seen(tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(DIGITS / "c", copy)
    with (copy / "src" / "digits.c").open("a") as file:
        file.write("\n")
    assert differing(copy, tmp_path) == ["src/digits.c"]


def test_the_committed_c_passes_its_own_test(tmp_path):
    if shutil.which("make") is None or shutil.which("cc") is None:
        absent("make or a C compiler is not installed")
    shutil.copytree(DIGITS / "c", tmp_path / "c")
    command = ["make", "-s", "-C", str(tmp_path / "c"), "test", "CC=cc"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.slow
def test_the_training_example_ends_in_identical_c(tmp_path):
    pytest.importorskip("sklearn")
    if shutil.which("cc") is None:
        absent("a C compiler is not installed")
    script = shared_data.CHECKOUT / "export_examples" / "qat_digits.py"
    command = [sys.executable, str(script), str(tmp_path / "c"), "--epochs", "2"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "equal to trained: True" in result.stdout
