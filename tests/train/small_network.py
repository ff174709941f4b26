"""A network that takes a hundredth of a DeepLab's time, built in its place, and a run of it.

`python -m tests.train.small_network …` does what `python -m train …` does, with this network, and
`python -m tests.train.small_network plain …` with the plain one.
"""

import runpy
import sys
from contextlib import contextmanager

import keras
import pytest

import models
from tests.commands import TINY_RUN, UNCAPTURED, command

STEPS = 30


def build(name, *, num_classes, **_options):
    """Build a network that tells classes by their colors after a few steps.

    Takes what `models.build` takes. What the network does depends on `training`: it has batch
    normalization and dropout.
    """
    layers = [
        keras.Input((None, None, 3)),
        keras.layers.Rescaling(1 / 127.5, offset=-1),
        keras.layers.Conv2D(16, 3, padding="same", use_bias=False),
        keras.layers.BatchNormalization(momentum=0.7),
        keras.layers.ReLU(),
        keras.layers.Dropout(0.1),
        keras.layers.Conv2D(num_classes, 1),
    ]
    return keras.Sequential(layers, name=name)


def build_plain(name, *, num_classes, **_options):
    """Build a network that trains alike on any number of devices, without layers that draw lots."""
    layers = [
        keras.Input((None, None, 3)),
        keras.layers.Rescaling(1 / 127.5, offset=-1),
        keras.layers.Conv2D(8, 3, padding="same", activation="tanh"),
        keras.layers.Conv2D(num_classes, 1),
    ]
    return keras.Sequential(layers, name=name)


@contextmanager
def small_networks(build=build):
    """Build the small network whatever the configuration asks for."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(models, "build", build)
        yield monkeypatch


def options(folder, scenes_root):
    """Return the options of a run at reduced resolution, long enough to tell classes apart."""
    options = [*TINY_RUN, "--loss=SoftmaxCrossEntropy", "--input.resolution=0.75"]
    options += [f"--trainer.steps={STEPS}", f"--trainer.evaluate_every={STEPS // 2}"]
    return [f"--run={folder}", f"--data.root={scenes_root}", *options]


def fit(folder, scenes_root, *more):
    """Train, and return the folder."""
    with small_networks() as monkeypatch:
        arguments = [*options(folder, scenes_root), *more]
        outcome = command(monkeypatch, UNCAPTURED, "train", "fit", *arguments)
    assert outcome.status == 0
    return folder


if __name__ == "__main__":
    is_plain = sys.argv[1:2] == ["plain"]
    if is_plain:
        del sys.argv[1]
    with small_networks(build_plain if is_plain else build):
        runpy.run_module("train", run_name="__main__")
