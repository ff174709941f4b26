"""`python -m tfsegloss.explain` from the outside."""

import importlib.util

import numpy as np
import pytest
import tensorflow as tf

from tests.commands import assert_one_line, command
from tests.tfsegloss.examples import example
from tfsegloss.explain import picture
from tfsegloss.losses.registry import LOSSES

IDS, LOGITS = (batch[0] for batch in example((1, 13, 11)))


@pytest.fixture
def run(monkeypatch, capfd):
    return lambda *arguments: command(monkeypatch, capfd, "tfsegloss.explain", *arguments)


@pytest.fixture
def files(tmp_path):
    """Labels, logits and an image on disk."""
    np.save(tmp_path / "labels.npy", IDS)
    np.save(tmp_path / "logits.npy", LOGITS)
    np.save(tmp_path / "empty.npy", LOGITS[..., :0])
    np.save(tmp_path / "nan.npy", np.full_like(LOGITS, np.nan))
    np.save(tmp_path / "ignored.npy", np.full_like(IDS, 255))
    (tmp_path / "archive.npy").write_bytes(b"PK\x03\x04")  # how an .npz begins
    gray = tf.io.encode_png(IDS[..., None].astype(np.uint8))
    tf.io.write_file(str(tmp_path / "labels.png"), gray)
    image = tf.io.encode_png(np.full([*IDS.shape, 3], 90, np.uint8))
    tf.io.write_file(str(tmp_path / "image.png"), image)
    return tmp_path


def test_the_command_writes_the_figures_of_the_paper(run, tmp_path):
    outcome = run("--figures", tmp_path / "new" / "figures")
    assert outcome.status == 0
    found = sorted((tmp_path / "new" / "figures").iterdir())
    assert [path.name for path in found] == ["lmp_figure_1.png", "lmp_figure_2.png"]
    assert outcome.out == f"Figures: {found[0]}, {found[1]}\n"


@pytest.mark.parametrize("labels", ["labels.npy", "labels.png"])
def test_the_command_draws_files(run, files, labels):
    before = len([*files.iterdir()])
    pair = [files / labels, files / "logits.npy"]
    output = files / "picture.jpg"
    losses = ["--losses", "LMPLoss", "RMILoss"]
    outcome = run(*pair, *losses, "--image", files / "image.png", "--output", output)
    assert outcome.status == 0
    assert outcome.out == f"Picture: {output}\n"
    pixels = tf.io.decode_jpeg(output.read_bytes())
    assert pixels.shape[1] == 1200
    assert len([*files.iterdir()]) == before + 1


def test_losses_of_more_classes_are_left_out_and_named(run, files, monkeypatch):
    drawn = []
    monkeypatch.setattr(picture, "draw", lambda losses, *_, **__: drawn.extend(losses))
    monkeypatch.setattr(picture, "save", lambda *_: None)
    np.save(files / "two.npy", LOGITS[..., :2])
    outcome = run(files / "labels.npy", files / "two.npy", "--output", files / "p.png")
    assert outcome.err.splitlines()[-1] == "Not drawn, for 2 classes are too few: LADLoss"
    assert {*drawn} == LOSSES.keys() - {"LADLoss"}


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["LABELS LOGITS --output PICTURE", "--figures DIR"]),
        (["labels.npy", "logits.npy"], ["--output"]),
        (["labels.npy", "logits.npy", "--figures", "f"], ["--figures DIR stands alone"]),
        (["none.npy", "logits.npy", "--output", "p.png"], ["none.npy"]),
        (["image.png", "logits.npy", "--output", "p.png"], ["image.png", "8-bit gray PNG"]),
        (["labels.npy", "image.png", "--output", "p.png"], ["image.png", ".npy"]),
        (["labels.npy", "archive.npy", "--output", "p.png"], ["archive.npy", ".npy file"]),
        (["logits.npy", "labels.npy", "--output", "p.png"], ["`y_pred` must be"]),
        (["labels.npy", "empty.npy", "--output", "p.png"], ["`y_pred` must be", "(1, 13, 11, 0)"]),
        (["labels.npy", "nan.npy", "--output", "p.png"], ["`y_pred` must be finite"]),
        (["ignored.npy", "logits.npy", "--output", "p.png"], ["every pixel is ignored"]),
        (["labels.npy", "logits.npy", "--output", "p.png", "--losses", "Dice"], ["'Dice'"]),
        (["labels.npy", "logits.npy", "--output", "p.png", "--image", "logits.npy"], ["decoded"]),
        (["--figures", "labels.npy"], ["labels.npy: expected a folder, it is a file"]),
        (["--volume"], ["--volume"]),
    ],
    ids=lambda value: " ".join(value) if value else "nothing",
)
def test_a_mistake_is_one_line_and_nothing_is_written(run, files, monkeypatch, arguments, parts):
    monkeypatch.chdir(files)
    before = sorted(path.name for path in files.iterdir())
    if "--output" in arguments and not {"--losses", "empty.npy"} & {*arguments}:
        arguments = [*arguments, "--losses", "SoftmaxCrossEntropy"]
    assert_one_line(run(*arguments), *parts)
    assert sorted(path.name for path in files.iterdir()) == before


@pytest.mark.parametrize(
    ("output", "part"),
    [
        (".", "expected a file, it is a folder"),
        ("p.gif9", "ends in .png, .jpg, .jpeg, .pdf, .svg"),
        ("p", "ends in .png"),
        ("none/p.png", "there is no folder none"),
        ("image.png/p.png", "there is no folder image.png"),
        ("image.png", "choose another name"),
        ("../{folder}/image.png", "choose another name"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_the_work(run, files, monkeypatch, output, part):
    monkeypatch.chdir(files)
    output = output.format(folder=files.name)
    outcome = run("no_such_labels.npy", "logits.npy", "--image", "image.png", "--output", output)
    assert_one_line(outcome, output, part)


def test_an_interrupt_is_one_line(run, files, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(np.lib.format, "read_array", interrupt)
    outcome = run(files / "labels.npy", files / "logits.npy", "--output", files / "p.png")
    assert (outcome.status, outcome.out, outcome.err) == (130, "", "interrupted\n")


def test_without_matplotlib_the_command_says_what_to_install(run, files, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name)
    )
    one_picture = (files / "none.npy", files / "logits.npy", "--output", files / "p.png")
    for arguments in (one_picture, ("--figures", files / "figures")):
        assert_one_line(run(*arguments), "pip install tfsegloss[plot]")
    assert not (files / "figures").exists()
