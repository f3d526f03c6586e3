"""The choice of layers under a budget is the best of all choices."""

import itertools

import numpy as np
import pytest

from aidge_quant.tuning import knapsack
from aidge_quant.tuning.knapsack import Option, least_loss


def layers(seed, count=9):
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        bits = (8, 4)[: rng.integers(1, 3)]
        saved = np.sort(rng.integers(1, 5000, len(bits)))
        loss = rng.uniform(0, 1, len(bits))
        found.append(
            [
                Option(str(number), b, float(x), int(s))
                for b, x, s in zip(bits, loss, saved, strict=True)
            ]
        )
    return found


def sums(chosen):
    return sum(option.saved for option in chosen), sum(option.loss for option in chosen)


@pytest.mark.parametrize("seed", range(12))
def test_no_other_choice_loses_less(seed):
    found = layers(seed)
    most = sum(options[-1].saved for options in found)
    need = int(most * np.random.default_rng(seed).uniform(0.1, 1))
    choices = itertools.product(*([None, *options] for options in found))
    every = [sums([option for option in choice if option]) for choice in choices]
    least = min(loss for saved, loss in every if saved >= need)
    chosen = least_loss(found, need)
    assert len({option.site for option in chosen}) == len(chosen)
    saved, loss = sums(chosen)
    assert saved >= need
    assert loss == pytest.approx(least)


def test_nothing_but_everything_can_be_enough():
    found = layers(3)
    chosen = least_loss(found, sum(options[-1].saved for options in found))
    assert chosen == tuple(options[-1] for options in found)


@pytest.mark.parametrize("share", [0.3, 0.7, 1.0])
def test_thinned_states_still_save_enough(monkeypatch, share):
    found = layers(5, 12)
    need = int(share * sum(options[-1].saved for options in found))
    exact = sums(least_loss(found, need))
    monkeypatch.setattr(knapsack, "MOST_STATES", 40)
    saved, loss = sums(least_loss(found, need))
    assert saved >= need
    assert exact[1] <= loss <= 1.5 * exact[1]
