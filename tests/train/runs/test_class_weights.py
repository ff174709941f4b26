"""Weights of the classes that a run computes from its training data."""

import json

import numpy as np
import pytest

import tfsegloss
from tests.commands import TINY_RUN, assert_one_line
from train.common.errors import UserError
from train.data.datasets.registry import SCENES
from train.data.samples.statistics import class_counts, collect_statistics
from train.runs.class_weights import FILE, with_class_weights


@pytest.fixture
def losses(small_networks, monkeypatch):
    """Note the loss of each trainer, and take no step."""
    seen = []

    def fit(trainer, *_arguments, **_options):
        seen.append(trainer.loss)
        raise KeyboardInterrupt

    monkeypatch.setattr("train.runs.train.fit", fit)
    return seen


def test_a_run_begins_with_them_and_keeps_them(train, scenes_root, tmp_path, losses):
    run = tmp_path / "run"
    options = [f"--run={run}", f"--data.root={scenes_root}", *TINY_RUN, "--loss=LMPLoss"]
    options += ["--class_weights=median_frequency", "--data.verify=false"]
    assert train("fit", *options).status == 130
    statistics = collect_statistics(SCENES.samples("train", scenes_root), SCENES.num_classes)
    counts = class_counts(statistics)
    expected = tfsegloss.median_frequency(counts.pixels, counts.image_pixels)
    np.testing.assert_allclose(json.loads((run / FILE).read_text()), expected)
    np.testing.assert_allclose(losses[0].class_weights, expected)
    (run / FILE).write_text(json.dumps([2.0] * SCENES.num_classes))
    assert train("fit", *options).status == 130
    assert losses[1].class_weights == [2.0] * SCENES.num_classes


def test_a_damaged_file_is_named(tmp_path):
    loss = tfsegloss.SoftmaxCrossEntropy()
    assert with_class_weights(loss, tmp_path, 2) is loss
    for text in ("[1", '["a", 1]', "null", "{}", "[1]"):
        (tmp_path / FILE).write_text(text)
        with pytest.raises(UserError, match=f"{FILE} is damaged .*: remove it"):
            with_class_weights(loss, tmp_path, 2)


@pytest.mark.parametrize("loss", ["RMILoss", "DiceLoss"])
def test_other_losses_are_refused(train, scenes_root, tmp_path, loss):
    run = tmp_path / "run"
    options = [f"--run={run}", f"--data.root={scenes_root}", *TINY_RUN, f"--loss={loss}"]
    outcome = train("fit", *options, "--class_weights=median_frequency")
    assert_one_line(outcome, "class_weights needs a loss of pixels", f"got {loss}")
    assert not run.exists()
