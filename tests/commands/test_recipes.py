"""The options that choose how a model is quantized: one network whatever the command."""

import json

import numpy as np
import pytest
from digits_example import FAST, MODEL, analyzed, export, said_as_json, write_samples

import aidge_quant as aq
from aidge_quant.commands import analyze as analyze_module

PUBLISHED = ("--recipe", "quantize_network")

OPTIONS = [
    (),  # the default, which takes its time
    FAST,
    (*FAST, "--weight-bits", "4", "--no-per-channel", "--seed", "7"),
    (*FAST, "--activation-bits", "16"),
    PUBLISHED,
    (*PUBLISHED, "--channel-wise", "--clipping", "mse"),
    (*PUBLISHED, "--no-single-shift", "--no-equalize"),
    (*PUBLISHED, "--optimize-signs", "--input-range", "2"),
]


@pytest.fixture
def data(tmp_path):
    return write_samples(tmp_path / "data.npz")


def exported(data, out, recipe):
    """Return metadata.json of an export with these options."""
    assert export(data, out, "--no-verify", recipe=recipe) == 0
    return json.loads((out / "metadata.json").read_text())


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_export_and_analyze_look_at_one_network(options, data, tmp_path, capsys, monkeypatch):
    seen = []

    def watched(graph, quantized, *arguments, **more):
        seen.append(quantized)
        return aq.analyze(graph, quantized, *arguments, **more)

    monkeypatch.setattr(analyze_module, "analyze", watched)
    assert analyzed(capsys, data, recipe=options)[0] == 0
    assert exported(data, tmp_path / "out", options)["digest"] == aq.lower(seen[0]).digest


def test_each_option_reaches_the_network(data, tmp_path):
    found = [exported(data, tmp_path / str(i), more) for i, more in enumerate(OPTIONS[1:])]
    options = [entry["provenance"]["options"] for entry in found]
    assert (
        options[0] == "effort=fast, weight_bits=8, activation_bits=8, per_channel=True, "
        "flash_budget=None, ram_budget=None, seed=0"
    )
    assert (
        options[1] == "effort=fast, weight_bits=4, activation_bits=8, per_channel=False, "
        "flash_budget=None, ram_budget=None, seed=7"
    )
    assert options[5] == (
        "clipping=max, equalize=False, channel_wise=False, optimize_signs=False, "
        "single_shift=False, input_range=None"
    )
    recipes = [entry["provenance"]["recipe"] for entry in found]
    assert recipes == ["quantize"] * 3 + ["quantize_network"] * 4
    assert len({entry["digest"] for entry in found}) == len(found)
    assert found[1]["sizes"]["parameters"] < 0.7 * found[0]["sizes"]["parameters"]


@pytest.mark.slow
def test_the_default_is_the_recipe_of_python(data, tmp_path):
    with np.load(data) as arrays:
        result = aq.quantize(MODEL, arrays["x_calib"])
    found = exported(data, tmp_path / "out", ())
    assert found["digest"] == result.network.digest
    assert found["provenance"]["options"] == result.network.metadata["options"]
    assert "effort=balanced" in result.network.metadata["options"]


FOREIGN = [
    ("--no-equalize", "quantize_network"),
    ("--channel-wise", "quantize_network"),
    ("--optimize-signs", "quantize_network"),
    ("--single-shift", "quantize_network"),
    ("--clipping max", "quantize_network"),
    ("--input-range 1", "quantize_network"),
    ("--effort fast", "quantize"),
    ("--weight-bits 8", "quantize"),
    ("--activation-bits 8", "quantize"),
    ("--flash-budget 9000", "quantize"),
    ("--ram-budget 9000", "quantize"),
    ("--no-per-channel", "quantize"),
    ("--seed 0", "quantize"),
]


@pytest.mark.parametrize(("option", "recipe"), FOREIGN)
def test_an_option_of_the_other_recipe_is_refused(option, recipe, data, tmp_path, capsys):
    other = "quantize" if recipe == "quantize_network" else "quantize_network"
    chosen = ("--recipe", other, *option.split())
    message = f"{option.split()[0]}: expected with --recipe {recipe}, got --recipe {other}"
    assert export(data, tmp_path / "out", recipe=chosen) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    status, said = analyzed(capsys, data, recipe=chosen)
    assert (status, message in said.err) == (2, True)


@pytest.mark.slow
def test_the_ladder_is_shown_on_request(data, tmp_path, capsys):
    export(data, tmp_path / "a", "--no-verify", "--json")
    rows = said_as_json(capsys)["ladder"]
    assert len(rows) > 3
    assert all(row["kept"] == (row["after"] > row["before"]) for row in rows)
    export(data, tmp_path / "b", "--no-verify", "-v")
    assert "before dB  after dB  kept" in capsys.readouterr().out
    export(data, tmp_path / "c", "--no-verify")
    assert "before dB" not in capsys.readouterr().out
    assert json.loads(analyzed(capsys, data, "--json")[1].out)["ladder"] == rows
    assert "before dB  after dB  kept" in analyzed(capsys, data, "-v")[1].out
    assert json.loads(analyzed(capsys, data, "--json", recipe=PUBLISHED)[1].out)["ladder"] == []


def test_few_samples_do_for_the_published_pipeline(data, tmp_path, capsys):
    assert export(data, tmp_path / "out", "--samples", "7") == 2
    said = capsys.readouterr().err
    assert "expected at least 8 samples" in said
    assert "give more, or use quantize_network" in said
    assert export(data, tmp_path / "out", "--samples", "7", recipe=PUBLISHED) == 0


@pytest.mark.slow
def test_a_budget_is_kept_and_its_choices_are_shown(data, tmp_path, capsys):
    assert export(data, tmp_path / "a", "--flash-budget", "9000", "--json") == 0
    found = said_as_json(capsys)
    assert found["sizes"]["parameters"] <= 9000
    assert {row["weight_bits"] for row in found["proposal"]["rows"]} >= {4, 8}
    assert (found["proposal"]["flash"], found["proposal"]["flash_budget"]) == (
        found["sizes"]["parameters"],
        9000,
    )
    assert "flash_budget=9000" in found["provenance"]["options"]
    assert export(data, tmp_path / "b", "--flash-budget", "9000", "--no-verify") == 0
    assert "bytes of 9000" in capsys.readouterr().out
    assert "bytes of 9000" in analyzed(capsys, data, "--flash-budget", "9000")[1].out


def test_a_budget_out_of_reach_is_refused(data, tmp_path, capsys):
    assert export(data, tmp_path / "out", "--flash-budget", "100") == 2
    assert "flash" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
