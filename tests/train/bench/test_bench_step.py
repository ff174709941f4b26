"""`python -m train bench-step`: what it measures, on a small network."""

import re

import numpy as np
import pytest

from tests.train.small_network import build
from tfsegloss import LMPLoss, SoftmaxCrossEntropy
from tfsegloss.benchmark.losses import keras_cross_entropy
from train.bench.step import LoopCost, LossCost, bare_step, loop_cost, loss_costs, megabytes_in_use
from train.commands import bench_step

MOST_GROWTH = 16  # MB, after the first round of a small network
KEPT_BYTES = 64_000_000


@pytest.mark.full
def test_each_round_measures_both_kinds_of_steps():
    cost = loop_cost(lambda: build("small", num_classes=3), (16, 16), 2, steps=2, rounds=4)
    assert len(cost.bare) == len(cost.loop) == len(cost.megabytes) == 4
    assert min(*cost.bare, *cost.loop) > 0
    assert cost.growth < MOST_GROWTH


def test_memory_that_is_kept_is_seen_below_an_earlier_peak():
    peak = np.ones(4 * KEPT_BYTES, np.uint8)
    del peak
    before = megabytes_in_use()
    kept = np.ones(KEPT_BYTES, np.uint8)
    cost = LoopCost(bare=[], loop=[], megabytes=[before, megabytes_in_use()])
    assert cost.growth > MOST_GROWTH
    assert kept.all()


def test_the_ratio_is_that_within_rounds():
    """A machine that is slow in one round is slow for both."""
    cost = LoopCost(bare=[1.0, 5.0, 1.0], loop=[1.02, 5.1, 1.5], megabytes=[])
    assert cost.ratio == pytest.approx(1.02)


def test_a_share_is_of_the_step():
    assert LossCost(loss=0.3, keras=0.1, step=4.0).share == pytest.approx(0.05)


def test_a_bare_step_learns():
    model = build("small", num_classes=3)
    step = bare_step(model, SoftmaxCrossEntropy())
    random = np.random.default_rng(0)
    ids = random.integers(0, 3, [2, 8, 8]).astype(np.uint8)
    images = np.repeat(ids[..., np.newaxis] * 100, 3, axis=-1).astype(np.uint8)
    losses = [float(step(images, ids)) for _ in range(40)]
    assert losses[-1] < losses[0] / 1.2


def test_losses_are_timed_beside_a_network():
    makers = {"Keras": keras_cross_entropy, "LMPLoss": LMPLoss}
    (found,) = loss_costs(
        lambda: build("small", num_classes=3), makers, "Keras", (1, 16, 16, 3), rounds=1
    )
    name, cost = found
    assert name == "LMPLoss"
    assert min(cost) > 0


def test_the_command_prints_both(train, small_networks, monkeypatch):
    makers = {"Keras": keras_cross_entropy, "LMPLoss": LMPLoss}
    monkeypatch.setattr(bench_step, "losses", lambda: makers)
    monkeypatch.setattr(bench_step, "LOOP_CROP", (16, 16))
    outcome = train("bench-step", "--steps=2", "--crop=16", "--rounds=1")
    assert outcome.status == 0, outcome.err
    assert "the loop over a bare step: " in outcome.out
    memory = r"^memory in use after the first round (\d+) MB, after the last \1 MB: \+0.0 MB$"
    assert re.search(memory, outcome.out, re.MULTILINE)
    assert "A step of DeepLabV3+ on resnet101_beta at (1, 16, 16, 21)" in outcome.out
    assert "LMPLoss" in outcome.out
