"""A run that begins with the weights of another one."""

import re
import shutil

import keras
import numpy as np
import pytest

import models
from tests.commands import TINY_RUN, assert_one_line
from tests.train.small_network import STEPS
from train.runs.initialize import initialize_from
from train.runs.load import load_trained

pytestmark = pytest.mark.usefixtures("small_networks")


def network(num_classes, name="deeplab_v3_plus"):
    return models.build(name, num_classes=num_classes)


def test_the_same_classes_take_all_weights(trained_run, capsys):
    _, dataset, trained = load_trained(trained_run)
    model = network(dataset.num_classes)
    initialize_from(model, trained_run)
    for ours, theirs in zip(model.weights, trained.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    out = capsys.readouterr().out
    assert (
        f"First weights: {len(model.weights)} of {trained_run} at step {STEPS} of {STEPS}\n" in out
    )


def test_a_first_stage_that_was_stopped_is_said_to_be(trained_run, tmp_path, capsys):
    run = shutil.copytree(trained_run, tmp_path / "run")
    for path in (run / "checkpoints").glob(f"ckpt-{STEPS}.*"):
        path.unlink()
    initialize_from(network(load_trained(run)[1].num_classes), run)
    assert re.search(rf"at step \d+ of {STEPS}, not its last one$", capsys.readouterr().out, re.M)


def test_other_classes_have_a_new_head(trained_run, capsys):
    trained = load_trained(trained_run)[2]
    model = network(3)
    before = [weight.numpy() for weight in model.weights]
    initialize_from(model, trained_run)
    *body, kernel, bias = model.weights
    for ours, theirs in zip(body, trained.weights, strict=False):
        np.testing.assert_array_equal(ours, theirs)
    for weight, old in zip((kernel, bias), before[-2:], strict=True):
        np.testing.assert_array_equal(weight, old)
    out = capsys.readouterr().out
    assert f"; new, for other classes than scenes's: {kernel.path}, {bias.path}\n" in out


def test_another_network_is_refused(train, trained_run, scenes_root, tmp_path, monkeypatch):
    def other(name, *, num_classes, **_options):
        built.append(name)
        layers = [keras.Input((None, None, 3)), keras.layers.Conv2D(num_classes, 3, padding="same")]
        return keras.Sequential(layers) if len(built) == 1 else small(name, num_classes=num_classes)

    built, small = [], models.build
    monkeypatch.setattr(models, "build", other)
    run = tmp_path / "run"
    options = [f"--run={run}", f"--data.root={scenes_root}", f"--init_from={trained_run}"]
    outcome = train("fit", *options, *TINY_RUN)
    assert_one_line(outcome, "init_from: the network of", "is another one, deeplab_v3_plus on")
    assert not run.exists()


@pytest.mark.full
def test_a_second_stage_resumes_without_the_first(train, trained_run, tmp_path, scenes_root):
    first = shutil.copytree(trained_run, tmp_path / "first")
    options = [f"--run={tmp_path}/run", f"--data.root={scenes_root}", f"--init_from={first}"]
    done = train("fit", *options, *TINY_RUN, "--loss=SoftmaxCrossEntropy")
    assert done.status == 0
    assert f"of {first}" in done.out
    shutil.rmtree(first)
    again = train("fit", *options, *TINY_RUN, "--loss=SoftmaxCrossEntropy")
    assert again.status == 0
    assert "is finished" in again.out


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--init_from=nowhere"], ["nowhere is no run: no file nowhere/config.yaml"]),
        (
            ["--init_from=nowhere", "--model.weights=imagenet"],
            ["init_from and model.weights are both given (nowhere, imagenet)"],
        ),
    ],
)
def test_what_is_wrong_is_named(train, scenes_root, tmp_path, options, parts):
    run = tmp_path / "run"
    outcome = train("fit", f"--run={run}", f"--data.root={scenes_root}", *TINY_RUN, *options)
    assert_one_line(outcome, *parts)
    assert not run.exists()
