"""Runs that draw their crops by class: resumed bit for bit, and shown."""

import shutil

import pytest
import tensorflow as tf
from PIL import Image

from tests.commands import assert_one_line
from train.data.datasets.camvid_classes import CAR
from train.data.datasets.registry import SCENES
from train.data.input.sampling import ComplementaryWeights


@pytest.fixture
def run(scenes_root, tmp_path):
    """Return a folder that holds what the command reads of a run: nothing but cars is segmented."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text(
        f"data:\n  root: {scenes_root}\ninput:\n  sampling:\n    strategy: complementary\n"
    )
    sampling_weights = ComplementaryWeights(SCENES.num_classes)
    sampling_weights.observe(tf.linalg.diag(tf.one_hot(CAR, SCENES.num_classes)))
    checkpoint = tf.train.Checkpoint(shares=sampling_weights.variables)
    tf.train.CheckpointManager(checkpoint, str(folder / "checkpoints"), max_to_keep=1).save()
    return folder


def test_the_frequencies_are_shown(train, run, tmp_path):
    outcome = train("sampling", run, f"--output={tmp_path / 'plot.png'}")
    assert outcome.status == 0, outcome.err
    rows = {
        cells[1].strip(): [float(cell) for cell in cells[2:5]]
        for cells in (line.split("│") for line in outcome.out.splitlines())
        if len(cells) > 4
    }
    assert set(rows) == set(SCENES.class_names)
    uniform, drawn, _ = rows["car"]
    assert drawn == pytest.approx(uniform / 2, abs=0.01)  # in uniform crops alone
    uniform, drawn, times = rows["pole"]
    assert drawn == pytest.approx(uniform / 2 + 100 / 20, abs=0.01)
    assert times == pytest.approx(drawn / uniform, abs=0.1)
    assert Image.open(tmp_path / "plot.png").width > 500


def test_what_cannot_be_shown_is_named(train, run, tmp_path):
    output = f"--output={tmp_path / 'plot.png'}"
    assert_one_line(train("sampling", tmp_path, output), tmp_path, "is no run")
    assert_one_line(train("sampling", run, "--output=plot.bmp"), "output", "plot.bmp")
    shutil.rmtree(run / "checkpoints")
    assert_one_line(train("sampling", run, output), run, "no checkpoint yet")
    (run / "config.yaml").write_text("data:\n  name: scenes\n")
    assert_one_line(train("sampling", run, output), run, "strategy is uniform")
    assert not (tmp_path / "plot.png").exists()
