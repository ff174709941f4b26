import numpy as np
import pytest

from tests.commands import assert_one_line, command
from tests.models.weights.slim_networks import (
    CLASSES,
    FIRST,
    THIN,
    TRAINING,
    assert_has_values,
    targets_of,
    thin_values,
)


@pytest.fixture
def run(monkeypatch, capfd):
    def run(*arguments):
        return command(monkeypatch, capfd, "models", "import-checkpoint", *arguments)

    return run


@pytest.fixture
def asked(monkeypatch, model):
    """Hand the command a network that is built; list what it asked for."""
    asked = []

    def build(architecture, **options):
        asked.append((architecture, options))
        return model

    monkeypatch.setattr("models.builder.build", build)
    return asked


def test_it_writes_weights(run, asked, model, prefix, tmp_path):
    output = tmp_path / "deeplab.weights.h5"
    outcome = run(prefix, "--output", output)
    assert (outcome.status, outcome.err) == (0, "")
    assert asked == [("deeplab_v3_plus", {"backbone": "xception_65", "num_classes": CLASSES})]
    lines = outcome.out.splitlines()
    assert set(lines[:-2]) == {
        *(f"used    {name}" for name in thin_values()),
        *(f"ignored {name}" for name in TRAINING),
    }
    counts = f"{len(thin_values())} used, 0 unused, 0 missing, {len(TRAINING)} ignored"
    assert lines[-2:] == [f"Variables: {counts}", f"Weights: {output}"]
    assert [*tmp_path.iterdir()] == [output]
    model.load_weights(output)
    assert_has_values(model, targets_of("xception_65", **THIN), thin_values())


@pytest.mark.usefixtures("asked")
def test_it_names_what_is_missing(run, saved, tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    output = folder / "part.weights.h5"
    path = saved({FIRST: thin_values()[FIRST], "other": np.zeros([2], "float32")})
    arguments = (path, "--output", output)
    assert_one_line(run(*arguments), "models: error: ", "1 used, 1 unused", "partial")
    assert [*folder.iterdir()] == []
    outcome = run(*arguments, "--partial=true")
    assert outcome.status == 0
    lines = outcome.out.splitlines()
    assert lines[:2] == [f"used    {FIRST}", "unused  other"]
    assert set(lines[2:-2]) == {f"missing {name}" for name in thin_values() if name != FIRST}
    assert [*folder.iterdir()] == [output]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["subcommand", "import-checkpoint"]),
        (["export"], ["'export'", "import-checkpoint"]),
        (["import-checkpoint"], ["required: ", "checkpoint", "output"]),
        (["import-checkpoint", "c", "--output", "w.h5"], ["w.h5", ".weights.h5"]),
        (["import-checkpoint", "c", "--output", "no/w.weights.h5"], ["no folder no"]),
        (["import-checkpoint", "c", "--output", "d.weights.h5"], ["it is a folder"]),
        (
            ["import-checkpoint", "c", "--output", "w.weights.h5", "--backbone", "resnet50"],
            ["resnet50", "xception_65", "resnet101_beta"],
        ),
        (["import-checkpoint", "c", "--output", "w.weights.h5"], ["`checkpoint` must be", "'c'"]),
    ],
    ids=lambda value: " ".join(value) if value else "nothing",
)
def test_a_mistake_is_one_line(monkeypatch, capfd, tmp_path, arguments, parts):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.weights.h5").mkdir()
    assert_one_line(command(monkeypatch, capfd, "models", *arguments), *parts)
    assert [path.name for path in tmp_path.iterdir()] == ["d.weights.h5"]


@pytest.mark.usefixtures("asked")
def test_it_leaves_nothing_without_a_checkpoint(run, tmp_path):
    outcome = run(tmp_path / "none.ckpt", "--output", tmp_path / "w.weights.h5")
    assert_one_line(outcome, "none.ckpt")
    assert [*tmp_path.iterdir()] == []


def test_options_arrive(run, asked, prefix, tmp_path):
    options = ("--num_classes", 19, "--backbone", "resnet101_beta", "--separable=false")
    run(prefix, "--output", tmp_path / "w.weights.h5", *options)
    expected = {"backbone": "resnet101_beta", "num_classes": 19, "separable": False}
    assert asked == [("deeplab_v3_plus", expected)]
