"""Every option of every loss survives its config."""

import inspect
import json

import numpy as np
import pytest
import tensorflow as tf

import tfsegloss
from tests import keras_versions
from tests.tfsegloss.examples import IGNORED, example
from tests.tfsegloss.variants import OPTIONS
from tfsegloss import MaxPooling, Mean, Minkowski, SoftmaxCrossEntropy, TopK
from tfsegloss.core.keras_versions import keras
from tfsegloss.losses.registry import LOSSES

COMMON = {"from_logits": False, "ignore_class": [7, 255], "reduction": "sum", "name": "mine"}
# Values other than the default, for the options whose default does not tell one.
OTHER = {
    **COMMON,
    "activation": "sigmoid",
    "class_weights": [1.0, 2.0, 0.5],
    "classes": "all",
    "decay_steps": 10,
    "pooling": TopK(threshold=0.5, min_kept=3),
}
POOLINGS = {
    "mean": Mean(),
    "minkowski": Minkowski(k=3),
    "topk": TopK(fraction=0.3),
    "topk_threshold": TopK(threshold=0.01, min_kept=11),
    "max": MaxPooling(1.7, 0.4, "sort"),
    "max_infinite": MaxPooling(p=np.inf),
}


def through_json(thing):
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(thing)))
    return keras.saving.deserialize_keras_object(config)


def attributes(thing):
    """All attributes, those of poolings and inner losses too; variables are not options."""
    if isinstance(thing, dict | list | tuple):
        values = thing.values() if isinstance(thing, dict) else thing
        return [attributes(value) for value in values]
    if isinstance(thing, keras.losses.Loss | tfsegloss.Pooling | keras_versions.DTypePolicy):
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


def another(kind, option, default):
    """Return a value of an option that a loss takes, other than its default."""
    found = [
        options[option] for options in OPTIONS.get(kind.__name__, {}).values() if option in options
    ]
    if option in OTHER:
        found = [OTHER[option]]
    elif isinstance(default, bool):
        found = [not default]
    elif isinstance(default, int):
        found = [default + 1, default + 2]
    elif isinstance(default, float):
        found = [default / 2 or 0.1, default + 1]
    for value in found:
        try:
            kind(**{option: value})
        except ValueError:
            continue
        if value != default:
            return value
    raise AssertionError(f"give `OTHER` a value for {kind.__name__}'s `{option}`")


def test_config_round_trip_keeps_values(make):
    loss = make(**COMMON)
    assert_same(through_json(loss), loss)


@pytest.mark.parametrize("kind", LOSSES.values(), ids=LOSSES)
def test_config_round_trip_keeps_every_option(kind):
    parameters = inspect.signature(kind).parameters
    options = {name: another(kind, name, p.default) for name, p in parameters.items()}
    assert options.keys() >= COMMON.keys()
    loss = kind(**options)
    for option, value in options.items():
        assert getattr(loss, option) == value, option
    assert_same(through_json(loss), loss)


@pytest.mark.parametrize("pooling", POOLINGS.values(), ids=POOLINGS)
def test_a_loss_keeps_its_pooling(pooling):
    loss = SoftmaxCrossEntropy(pooling=pooling, **COMMON)
    assert_same(through_json(loss), loss)
