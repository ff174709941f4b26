"""Every option of every loss survives its config."""

import inspect
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfsegloss
from tests.tfsegloss.losses_under_test import IGNORED, example
from tfsegloss import MaxPooling, SegmentationLoss, TopK

COMMON = {"from_logits": False, "ignore_class": [7, 255], "reduction": "sum", "name": "mine"}
WEIGHTS = {"class_weights": [1.0, 2.0, 0.5]}
# Of each class, every option with another value than its default.
OPTIONS = {
    "AffinityFieldLoss": {
        "distance": 2,
        "margin": 2.0,
        "edge_weight": 0.5,
        "non_edge_weight": 2.0,
        "downsample_factor": 3,
        "decay_steps": 10,
    },
    "CenterLoss": {"alpha": 0.3, "weight": 0.1},
    "FocalLoss": {
        "alpha": 0.7,
        "gamma": 1.0,
        "activation": "sigmoid",
        "pooling": TopK(fraction=0.3),
        **WEIGHTS,
    },
    "LADLoss": {"kernel_size": 3, "stride": 2, "pooling": MaxPooling(2, 0.3, "sort"), **WEIGHTS},
    "LMPLoss": {"p": 2.0, "fraction": 0.5, "label_smoothing": 0.1, **WEIGHTS},
    "RMILoss": {
        "region_size": 2,
        "downsample": "max",
        "downsample_factor": 2,
        "weight": 0.3,
        "epsilon": 1e-3,
    },
    "SSIMLoss": {"form": "contrast_structure", "window_size": 5, "sigma": 1.0, "weight": 0.3},
    "SSLLoss": {
        "window_size": 5,
        "sigma": 1.0,
        "beta": 0.2,
        "stability": 0.1,
        "weight": 0.3,
        "reweight": False,
        "mine": False,
    },
    "SigmoidCrossEntropy": {"label_smoothing": 0.1, "pooling": TopK(threshold=0.5), **WEIGHTS},
    "SoftmaxCrossEntropy": {
        "label_smoothing": 0.1,
        "pooling": TopK(threshold=0.5, min_kept=3),
        **WEIGHTS,
    },
}


def through_json(loss):
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(loss)))
    return keras.saving.deserialize_keras_object(config)


def attributes(thing):
    """All attributes, those of poolings and inner losses too; variables are not options."""
    if isinstance(thing, dict | list | tuple):
        values = thing.values() if isinstance(thing, dict) else thing
        return [attributes(value) for value in values]
    if isinstance(thing, keras.losses.Loss | tfsegloss.Pooling | keras.DTypePolicy):
        return type(thing), {
            name: attributes(value) for name, value in vars(thing).items() if name != "_state"
        }
    return thing


def assert_same(again, loss):
    assert attributes(again) == attributes(loss)
    assert again.get_config() == loss.get_config()
    ids, logits = example()
    ids[ids == IGNORED] = loss.ignore_class[0] if loss.ignore_class else IGNORED
    probabilities = tf.sigmoid(logits)
    np.testing.assert_array_equal(again(ids, probabilities), loss(ids, probabilities))


def test_config_round_trip_keeps_values(make):
    loss = make(**COMMON)
    assert_same(through_json(loss), loss)


def test_no_loss_is_missing():
    public = (getattr(tfsegloss, name) for name in tfsegloss.__all__)
    losses = {c.__name__ for c in public if isinstance(c, type) and issubclass(c, SegmentationLoss)}
    assert losses - {"PixelLoss", "SegmentationLoss", "WeightedLosses"} == OPTIONS.keys()


@pytest.mark.parametrize("name", OPTIONS)
def test_config_round_trip_keeps_every_option(name):
    options = OPTIONS[name] | COMMON
    parameters = inspect.signature(getattr(tfsegloss, name)).parameters
    assert options.keys() == parameters.keys()
    for option, value in options.items():
        assert value != parameters[option].default, option
    loss = getattr(tfsegloss, name)(**options)
    for option, value in options.items():
        assert getattr(loss, option) == value, option
    assert_same(through_json(loss), loss)
