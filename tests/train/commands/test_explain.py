"""`python -m train explain` from the outside."""

import shutil

import pytest
import tensorflow as tf
from matplotlib.figure import Figure

import tfsegloss
from tests.commands import assert_one_line, command
from train.data.datasets.registry import SCENES
from train.runs.build import build_model
from train.runs.folder import CHECKPOINTS
from train.runs.load import load_config, load_trained


@pytest.fixture
def train(monkeypatch, capfd):
    return lambda *arguments: command(monkeypatch, capfd, "train", *arguments)


@pytest.fixture(scope="module")
def run(scenes_root, tmp_path_factory):
    """The folder of a run that has saved its network at the start."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text(f"data:\n  name: scenes\n  root: {scenes_root}\n")
    model = build_model(load_config(folder), SCENES)
    tf.train.Checkpoint(model=model).save(str(folder / CHECKPOINTS / "ckpt"))
    return folder


@pytest.fixture
def few(monkeypatch):
    """Two losses instead of all."""
    losses_by_name = tfsegloss.explain.losses_by_name
    names = ["SoftmaxCrossEntropy", "RMILoss"]
    monkeypatch.setattr(tfsegloss.explain, "losses_by_name", lambda: losses_by_name(names))


@pytest.mark.usefixtures("few")
def test_a_picture_of_an_image(train, run, tmp_path):
    path = tmp_path / "picture.png"
    outcome = train("explain", run, "--index=2", f"--output={path}")
    assert outcome.status == 0, outcome.err
    image = SCENES.samples("val", load_trained(run)[0].data.root).images[2]
    assert str(image) in outcome.out
    assert tf.io.decode_png(path.read_bytes()).shape[1] == 1200


@pytest.mark.usefixtures("few")
def test_the_loss_of_the_run_is_drawn_once(train, run, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        tfsegloss.explain, "draw", lambda losses, *_, **__: drawn.append([*losses]) or Figure()
    )
    copy = shutil.copytree(run, tmp_path / "run")
    config = copy / "config.yaml"
    for options in ("{}", "{region_size: 2}"):
        loss = f"loss: {{class_path: tfsegloss.RMILoss, init_args: {options}}}\n"
        config.write_text((run / "config.yaml").read_text() + loss)
        assert train("explain", copy, f"--output={tmp_path / 'p.png'}").status == 0
    assert drawn[0] == ["SoftmaxCrossEntropy", "RMILoss"]
    assert drawn[1] == ["SoftmaxCrossEntropy", "RMILoss", "RMILoss of the run"]


@pytest.mark.parametrize(
    ("output", "part"),
    [("p.unknown", "ends in .png"), ("no/p.png", "no folder no"), (".", "it is a folder")],
)
def test_an_output_that_cannot_be_is_refused_before_the_work(train, tmp_path, output, part):
    # The run is not even looked at.
    assert_one_line(train("explain", tmp_path, f"--output={output}"), "output", output, part)


def test_the_labels_are_not_overwritten(train, run):
    root = load_trained(run)[0].data.root
    labels = SCENES.samples("val", root).labels[0]
    before = labels.read_bytes()
    assert_one_line(train("explain", run, f"--output={labels}"), labels, "choose another name")
    assert labels.read_bytes() == before


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--output=p.png", "--index=3"], ["index", "below 3", "got 3"]),
        (["--output=p.png", "--index=-1"], ["index", "-1"]),
        (["--output=p.png", "--split=exam"], ["train, val", "exam"]),
        ([], ["output"]),
    ],
)
def test_a_mistake_is_named_and_nothing_is_written(
    train, run, tmp_path, monkeypatch, options, parts
):
    monkeypatch.chdir(tmp_path)
    assert_one_line(train("explain", run, *options), *parts)
    assert [*tmp_path.iterdir()] == []


def test_a_folder_of_no_run_and_a_broken_image_are_named(train, run, scenes_root, tmp_path):
    output = f"--output={tmp_path / 'p.png'}"
    assert_one_line(train("explain", tmp_path, output), tmp_path, "is no run")
    root = shutil.copytree(scenes_root, tmp_path / "scenes")
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "config.yaml").write_text(f"data:\n  root: {root}\n")
    path = SCENES.samples("val", root).labels[0]
    path.write_bytes(path.read_bytes()[:-40])
    assert_one_line(train("explain", copy, output), path, "cannot be decoded")
