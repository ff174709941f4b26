"""`python -m train explain`: what is drawn, and what is refused."""

import shutil

import numpy as np
import pytest
import yaml
from matplotlib.figure import Figure
from PIL import Image

import tfsegloss
from tests.commands import assert_one_line
from train.data.datasets.registry import SCENES

pytestmark = pytest.mark.usefixtures("small_networks", "choose_losses")


@pytest.fixture
def choose_losses(monkeypatch):
    """Chooses losses instead of all; at first none of them is the run's."""
    losses_by_name = tfsegloss.explain.losses_by_name

    def choose(*names):
        monkeypatch.setattr(tfsegloss.explain, "losses_by_name", lambda **_: losses_by_name(names))

    choose("FocalLoss", "SigmoidCrossEntropy")
    return choose


@pytest.fixture
def explain(train, trained_run):
    """Explains the run, or another."""
    return lambda *options, run=trained_run: train("explain", run, *options)


def test_a_picture_of_an_image(explain, scenes_root, tmp_path):
    path = tmp_path / "picture.png"
    outcome = explain("--index=2", f"--output={path}")
    assert outcome.status == 0, outcome.err
    assert str(SCENES.samples("val", scenes_root).images[2]) in outcome.out
    assert Image.open(path).width == 1200


def test_what_is_drawn(explain, choose_losses, trained_run, scenes_root, tmp_path, monkeypatch):
    """The labels of the image, and the loss of the run beside the others, unless it is one."""
    drawn = []

    def draw(losses, ids, *_, **__):
        drawn.append(([*losses], ids.numpy().tolist()))
        return Figure()

    monkeypatch.setattr(tfsegloss.explain, "draw", draw)
    output = f"--output={tmp_path / 'p.png'}"
    assert explain(output, "--index=1").status == 0
    choose_losses("FocalLoss", "SoftmaxCrossEntropy")
    assert explain(output).status == 0
    run = shutil.copytree(trained_run, tmp_path / "run")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["loss"] = {"class_path": "tfsegloss.FocalLoss", "init_args": {"gamma": 3.0}}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert explain(output, run=run).status == 0
    labels = SCENES.samples("val", scenes_root).labels
    first, second = (np.asarray(Image.open(path)).tolist() for path in labels[:2])
    assert drawn == [
        (["FocalLoss", "SigmoidCrossEntropy", "SoftmaxCrossEntropy of the run"], second),
        (["FocalLoss", "SoftmaxCrossEntropy"], first),
        (["FocalLoss", "SoftmaxCrossEntropy", "FocalLoss of the run"], first),
    ]


@pytest.mark.parametrize(
    ("output", "part"),
    [("p.unknown", "ends in .png"), ("no/p.png", "no folder no"), (".", "it is a folder")],
)
def test_an_output_that_cannot_be_is_refused_before_the_work(explain, tmp_path, output, part):
    # The run is not even looked at.
    assert_one_line(explain(f"--output={output}", run=tmp_path), "output", output, part)


def test_the_labels_are_not_overwritten(explain, scenes_root):
    labels = SCENES.samples("val", scenes_root).labels[0]
    before = labels.read_bytes()
    assert_one_line(explain(f"--output={labels}"), labels, "choose another name")
    assert labels.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--output=p.png", "--index=3"], ["index", "below 3", "got 3"]),
        (["--output=p.png", "--index=-1"], ["index", "-1"]),
        (["--output=p.png", "--split=exam"], ["train, val", "exam"]),
        ([], ["output"]),
    ],
)
def test_a_mistake_is_named_and_nothing_is_written(explain, tmp_path, options, parts):
    assert_one_line(explain(*options), *parts)
    assert [*tmp_path.iterdir()] == []


def test_a_folder_of_no_run_and_a_broken_image_are_named(
    explain, trained_run, scenes_root, tmp_path
):
    output = f"--output={tmp_path / 'p.png'}"
    assert_one_line(explain(output, run=tmp_path), tmp_path, "is no run")
    root = shutil.copytree(scenes_root, tmp_path / "scenes")
    run = shutil.copytree(trained_run, tmp_path / "run")
    config = run / "config.yaml"
    config.write_text(config.read_text().replace(str(scenes_root), str(root)))
    path = SCENES.samples("val", root).labels[0]
    path.write_bytes(path.read_bytes()[:-40])
    assert_one_line(explain(output, run=run), path, "cannot be decoded")
