"""Checks of options: each returns the option, or raises a ValueError that names it."""

import math
from collections.abc import Callable, Sequence


def check_range(name: str, value: float, low: float, high: float) -> float:
    """Return `value` as a float if it lies in [low, high]."""
    return _checked(name, value, f"in [{low}, {high}]", lambda number: low <= number <= high)


def check_at_least(name: str, value: float, low: float) -> float:
    """Return `value` as a float if it is finite and at least `low`."""
    rule = f"finite and ≥ {low}"
    return _checked(name, value, rule, lambda number: low <= number < math.inf)


def check_positive(name: str, value: float) -> float:
    """Return `value` as a float if it is finite and above 0."""
    return _checked(name, value, "above 0 and finite", lambda number: 0 < number < math.inf)


def check_fraction(name: str, value: float) -> float:
    """Return `value` as a float if it lies in (0, 1]."""
    return _checked(name, value, "in (0, 1]", lambda number: 0 < number <= 1)


def check_between(name: str, value: float, low: float, high: float) -> float:
    """Return `value` as a float if it lies in (low, high)."""
    return _checked(name, value, f"in ({low}, {high})", lambda number: low < number < high)


def check_below_one(name: str, value: float) -> float:
    """Return `value` as a float if it lies in [0, 1)."""
    return _checked(name, value, "in [0, 1)", lambda number: 0 <= number < 1)


def check_choice(name: str, value: object, choices: Sequence[object]) -> object:
    """Return `value` if it is one of the choices."""
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {list(choices)}. Received: {name}={value!r}")
    return value


def check_integer(name: str, value: int, low: int) -> int:
    """Return `value` as an int if it is one of at least `low`."""
    rule = f"an integer of at least {low}"
    return int(_checked(name, value, rule, lambda number: number >= low and number.is_integer()))


def check_odd(name: str, value: int) -> int:
    """Return `value` as an int if it is odd and above 0."""
    return int(_checked(name, value, "odd and at least 1", lambda n: n >= 1 and n % 2 == 1))


def check_class_weights(class_weights: Sequence[float] | None) -> list[float] | None:
    """Return the weights as a list of finite floats ≥ 0, or None."""
    if class_weights is None:
        return None
    try:
        weights = [float(w) for w in class_weights]
    except (TypeError, ValueError):
        weights = [math.nan]
    if not all(0 <= w < math.inf for w in weights):
        raise ValueError(
            "`class_weights` must be finite and ≥ 0, one number per class, or None. "
            f"Received: class_weights={class_weights!r}"
        )
    return weights


def _checked(name: str, value: object, rule: str, holds: Callable[[float], bool]) -> float:
    try:
        number = math.nan if isinstance(value, (bool, str)) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not holds(number):  # nothing holds for NaN
        raise ValueError(f"`{name}` must be {rule}. Received: {name}={value!r}")
    return number
