"""Warm-up and polynomial decay."""

import keras
import numpy as np
import pytest

from train.loop.schedules import PolynomialWithWarmup


def test_without_warmup_it_is_keras_polynomial():
    ours = PolynomialWithWarmup(0.007, steps=100)
    theirs = keras.optimizers.schedules.PolynomialDecay(0.007, 100, end_learning_rate=0, power=0.9)
    steps = range(0, 110, 10)
    np.testing.assert_allclose([ours(t) for t in steps], [theirs(t) for t in steps], rtol=1e-5)


def test_warmup_rises_to_the_peak_and_joins_the_decay():
    schedule = PolynomialWithWarmup(1.0, steps=20, warmup_steps=5)
    values = [float(schedule(t)) for t in range(21)]
    np.testing.assert_allclose(values[:6], [0.2, 0.4, 0.6, 0.8, 1.0, 1.0], rtol=1e-6)
    assert values[5:] == sorted(values[5:], reverse=True)
    assert values[20] == 0


def test_config_round_trip():
    schedule = PolynomialWithWarmup(0.1, steps=20, warmup_steps=5, power=2.0)
    config = keras.optimizers.schedules.serialize(schedule)
    again = keras.optimizers.schedules.deserialize(config)
    assert again.get_config() == schedule.get_config()


@pytest.mark.parametrize("warmup", [-1, 20])
def test_bad_warmup_is_named(warmup):
    with pytest.raises(ValueError, match=rf"warmup_steps={warmup}, steps=20"):
        PolynomialWithWarmup(0.1, steps=20, warmup_steps=warmup)
