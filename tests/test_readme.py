"""What the README says about the code is true."""

import re

import operator_table
import pytest

import aidge_quant as aq


def readme():
    return operator_table.README.read_text(encoding="utf-8")


def test_the_operator_table_is_that_of_the_code():
    assert operator_table.renewed(readme()) == readme()


def test_a_changed_table_is_seen():
    text = readme().replace("| Conv | Conv |", "| Conv | Convolution |")
    assert operator_table.renewed(text) != text


def test_every_name_it_uses_exists():
    missing_yet = re.search(r"## What it does not do yet(.*?)##", readme(), re.S).group(1)
    used = set(re.findall(r"\baq\.(\w+)", readme().replace(missing_yet, "")))
    assert used <= set(aq.__all__)
    assert "quantize_network" in used


def test_its_python_runs(tmp_path, monkeypatch):
    examples = re.findall(r"```python\n(.*?)```", readme(), re.S)
    assert len(examples) == 4
    digits = operator_table.README.parent / "export_examples" / "digits"
    if not digits.is_dir():
        pytest.fail(f"{digits} is missing")
    import numpy as np

    (tmp_path / "kws.onnx").write_bytes((digits / "digits.onnx").read_bytes())
    with np.load(digits / "digits.npz") as data:
        images = next(data[name] for name in data.files if data[name].ndim == 4)
    np.savez(tmp_path / "samples.npz", x=images[:80] / 16)
    monkeypatch.chdir(tmp_path)
    scope = {}
    exec(compile("\n".join(examples), "README.md", "exec"), scope)
    assert len(scope["result"].ladder) > 4
    assert scope["other"].name == scope["graph"].name
    assert scope["check"].identical == scope["check"].total == 80 - max(0, 80 - len(images))
