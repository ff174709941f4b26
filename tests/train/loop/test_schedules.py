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


def test_a_linear_rise_from_a_rate_as_in_rmi():
    schedule = PolynomialWithWarmup(0.007, 100, warmup_steps=10, warmup_rate=1e-4, final_rate=1e-6)
    expected = [
        1e-4 + (0.007 - 1e-4) * (t + 1) / 10
        if t < 10
        else max(0.007 * (1 - (t - 10) / 90) ** 0.9, 1e-6)
        for t in range(101)
    ]
    np.testing.assert_allclose([schedule(t) for t in range(101)], expected, rtol=1e-4)
    assert float(schedule(100)) == pytest.approx(1e-6)


def test_a_constant_start_over_a_decay_from_the_first_step_as_in_tensorflows_deeplab():
    schedule = PolynomialWithWarmup(0.007, 50, warmup_steps=5, warmup="constant", warmup_rate=1e-3)
    expected = [1e-3 if t < 5 else 0.007 * (1 - t / 50) ** 0.9 for t in range(51)]
    np.testing.assert_allclose([schedule(t) for t in range(51)], expected, rtol=1e-5)


def test_all_rates_are_multiplied():
    schedule = PolynomialWithWarmup(0.1, 20, 5, warmup_rate=0.01, final_rate=0.02)
    for t in range(21):
        assert float(schedule.times(10)(t)) == pytest.approx(10 * float(schedule(t)), rel=1e-6)


def test_config_round_trip():
    options = {"warmup": "constant", "warmup_rate": 0.01, "final_rate": 0.001}
    schedule = PolynomialWithWarmup(0.1, steps=20, warmup_steps=5, power=2.0, **options)
    config = keras.optimizers.schedules.serialize(schedule)
    again = keras.optimizers.schedules.deserialize(config)
    assert again.get_config() == schedule.get_config()
    assert schedule.get_config().items() >= options.items()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"warmup": "constant", "warmup_steps": 2}, "`warmup_rate` must be above 0.*=0.0"),
        ({"final_rate": 1.0}, "`final_rate` must be at most .*=1.0, learning_rate=0.1"),
    ],
)
def test_rates_that_make_no_sense_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        PolynomialWithWarmup(0.1, steps=20, **options)


def test_an_unknown_start_is_named():
    with pytest.raises(ValueError, match="`warmup` must be one of .*'linear'.*'cosine'"):
        PolynomialWithWarmup(0.1, steps=20, warmup="cosine")


@pytest.mark.parametrize("warmup", [-1, 20])
def test_bad_warmup_is_named(warmup):
    with pytest.raises(ValueError, match=rf"warmup_steps={warmup}, steps=20"):
        PolynomialWithWarmup(0.1, steps=20, warmup_steps=warmup)
