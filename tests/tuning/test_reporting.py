"""What the recipe tells while it works, and of itself afterwards."""

import logging

import numpy as np
import pytest
from graph_cases import CASES

import aidge_quant as aq
from aidge_quant.tuning import climb, recipe
from aidge_quant.tuning.evaluation import Evaluation


def quantized(**options):
    graph = CASES["chain"]()
    (node,) = graph.inputs
    shape = (16, *node.operator.shape[1:])
    x = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    return aq.quantize(graph, x, **options)


def test_every_step_is_told_when_it_begins_and_long_ones_while_they_run():
    told = []
    result = quantized(progress=lambda *arguments: told.append(arguments))
    begun = [step for step, share in told if share == 0]
    assert {rung.step for rung in result.ladder} <= set(begun)
    assert begun[0] == "bias correction"
    search = [share for step, share in told if step == "scale search" and share > 0]
    assert search == sorted(search)
    assert search[-1] == 1


@pytest.mark.parametrize("verbose", [True, False])
def test_steps_are_logged_on_request(verbose, caplog):
    with caplog.at_level(logging.INFO, logger="aidge_quant"):
        quantized(effort="fast", verbose=verbose)
    assert ("zero points: " in caplog.text) == verbose


def test_a_large_calibration_set_does_not_hold_back_more(monkeypatch):
    counts = []

    class Watched(Evaluation):
        def __init__(self, inputs, references):
            super().__init__(inputs, references)
            counts.append(self.count)

    monkeypatch.setattr(climb, "Evaluation", Watched)
    quantized(effort="fast")
    assert 4 in counts  # a quarter of 16
    counts.clear()
    monkeypatch.setattr(recipe, "MOST_HELD_BACK", 3)
    quantized(effort="fast")
    assert 3 in counts
    assert 4 not in counts


def test_the_result_prints_its_ladder_and_says_how_it_was_made():
    result = quantized(effort="fast", seed=5)
    assert str(result) == str(result.ladder)
    options = {
        "recipe": "quantize",
        "options": "effort=fast, weight_bits=8, activation_bits=8, per_channel=True, "
        "flash_budget=None, ram_budget=None, seed=5",
    }
    for metadata in (result.graph.metadata, result.network.metadata):
        assert options.items() <= metadata.items()
