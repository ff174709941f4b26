"""`python -m savedmodels export` from the outside."""

import json
import shutil
from types import SimpleNamespace

import pytest

import tfsegloss
from savedmodels import export
from tests.commands import assert_one_line
from train.data.datasets.registry import SCENES


def test_the_classes_are_beside_the_model(exported, scenes_root):
    fields = json.loads((exported / "classes.json").read_text())
    assert fields == {
        "dataset": "scenes",
        "class_names": [*SCENES.class_names],
        "colors": [[*color] for color in SCENES.colors],
        "activation": "softmax",
        "threshold": None,
        "data_root": str(scenes_root),
        "averaged": False,
    }


@pytest.mark.usefixtures("small_networks")
def test_it_refuses_what_is_no_run_and_what_exists(trained_run, savedmodels, tmp_path):
    outcome = savedmodels("export", tmp_path, f"--output={tmp_path}/model")
    assert_one_line(outcome, tmp_path, "no run")
    outcome = savedmodels("export", trained_run, f"--output={tmp_path}")
    assert_one_line(outcome, tmp_path, "exists")
    empty = shutil.copytree(trained_run, tmp_path / "run", ignore=lambda *_: ["checkpoints"])
    outcome = savedmodels("export", empty, f"--output={tmp_path}/model")
    assert_one_line(outcome, empty, "no checkpoint")
    assert not (tmp_path / "model").exists()


def test_losses_without_a_common_activation_are_named(
    trained_run, savedmodels, tmp_path, monkeypatch
):
    """Whoever trains on such a sum learns it here: nothing says what the probabilities are."""
    losses = tfsegloss.SoftmaxCrossEntropy() + tfsegloss.SigmoidCrossEntropy()
    loaded = SimpleNamespace(loss=losses), SCENES, None
    monkeypatch.setattr(export, "load_trained", lambda run, step, **options: loaded)
    outcome = savedmodels("export", trained_run, f"--output={tmp_path}/model")
    assert_one_line(outcome, "loss", "softmax", "sigmoid")
    assert not (tmp_path / "model").exists()


@pytest.mark.usefixtures("small_networks")
def test_a_checkpoint_of_another_step_or_of_the_best_scores(
    trained_run, savedmodels, tmp_path, monkeypatch
):
    run = shutil.copytree(trained_run, tmp_path / "run")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    first, last = (line["step"] for line in lines)
    lines[0]["val_mean_iou"] = 0.9
    whole = "".join(json.dumps(line) + "\n" for line in lines)
    (run / "metrics.jsonl").write_text(whole + '{"step": 4')  # as a killed run may leave it
    asked = []

    def load(run, step, **options):
        asked.append(step)
        return load_trained(run, step, **options)

    load_trained = export.load_trained
    monkeypatch.setattr(export, "load_trained", load)
    for options in (["--best"], [f"--step={last}"], []):
        output = tmp_path / f"model{len(asked)}"
        assert savedmodels("export", run, f"--output={output}", *options).status == 0
    assert asked == [first, last, None]
    outcome = savedmodels("export", run, f"--output={tmp_path}/none", "--step=7")
    assert_one_line(outcome, f"{run} holds no checkpoint of step 7: those kept are of {last}, ")
    (run / "metrics.jsonl").unlink()
    outcome = savedmodels("export", run, f"--output={tmp_path}/none", "--best")
    assert_one_line(outcome, f"{run} has no scores yet")
    assert not (tmp_path / "none").exists()
