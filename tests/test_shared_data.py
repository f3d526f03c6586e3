"""The helper that finds the shared data."""

import pytest
import shared_data


def test_a_missing_file_skips(monkeypatch, tmp_path):
    monkeypatch.setenv("AIDGE_QUANT_SHARED", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="nothing.npz is absent"):
        shared_data.shared_path("data", "nothing.npz")


def test_a_missing_file_fails_an_automatic_run(monkeypatch, tmp_path):
    monkeypatch.setenv("AIDGE_QUANT_SHARED", str(tmp_path))
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="nothing.npz is absent"):
        shared_data.shared_path("data", "nothing.npz")


def test_the_environment_names_the_folder(monkeypatch, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.npz").touch()
    monkeypatch.setenv("AIDGE_QUANT_SHARED", str(tmp_path))
    assert shared_data.shared_path("data", "x.npz") == tmp_path / "data" / "x.npz"
