"""The arithmetic of times and of growth."""

import pytest

from tfsegloss.benchmark import losses, measure


@pytest.mark.parametrize("a", [-1.0, 0.0, 1.0, 2.5])
def test_the_exponent_of_a_power_law(a):
    sizes = [3, 10, 70, 1000]
    found = measure.exponent(sizes, [0.7 * size**a for size in sizes])
    assert found == pytest.approx(a, abs=1e-12)


def test_small_sizes_are_not_fitted(monkeypatch):
    monkeypatch.setattr(measure, "_least_seconds", lambda make, s: max(9, s[1]) ** 4)
    monkeypatch.setattr(measure, "SIDES", (3, 9, 27, 81))
    monkeypatch.setattr(measure, "FITTED_SIDE", 9)
    growth = measure.pixel_growth(None, num_classes=2)
    assert growth.exponent == pytest.approx(2)
    assert growth.seconds[0] == growth.seconds[1]


def test_the_compile_time_is_the_first_step_less_a_later_one_less_keras(monkeypatch):
    monkeypatch.setattr(measure, "WARM_UP", 0)
    first = [5.0, 6.0, 8.0, 10.0]  # Keras plain and compiled, a loss plain and compiled
    later = [1.0, 1.0, 2.0, 3.0]
    taken = iter([*first, *later])
    monkeypatch.setattr(measure, "_seconds", lambda *_: measure.Seconds(0.5, next(taken)))
    makers = dict.fromkeys(("Keras", "a"), losses.keras_cross_entropy)
    found = measure.times(makers, (1, 2, 2, 3), 1, lambda line: None)
    assert [found["a"][mode].compile_cpu_seconds for mode in measure.MODES] == [6, 7]
    assert [found["a"][mode].compile_over_keras for mode in measure.MODES] == [2, 2]
    assert [found["Keras"][mode].compile_over_keras for mode in measure.MODES] == [0, 0]
