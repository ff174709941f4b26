"""Checks of options, with the wording of their errors."""

from collections.abc import Sequence


def check_range(name: str, value: float, low: float, high: float) -> float:
    """`value` if it lies in [low, high]; otherwise an error that names it."""
    if not low <= value <= high:
        raise ValueError(f"`{name}` must be in [{low}, {high}]. Received: {name}={value}")
    return value


def check_positive(name: str, value: float) -> float:
    """`value` if it is finite and above 0; otherwise an error that names it."""
    if not 0 < value < float("inf"):
        raise ValueError(f"`{name}` must be above 0 and finite. Received: {name}={value}")
    return value


def check_not_negative(name: str, value: float) -> float:
    """`value` if it is finite and at least 0; otherwise an error that names it."""
    if not 0 <= value < float("inf"):
        raise ValueError(f"`{name}` must be finite and ≥ 0. Received: {name}={value}")
    return value


def check_fraction(name: str, value: float) -> float:
    """`value` if it lies in (0, 1]; otherwise an error that names it."""
    if not 0 < value <= 1:
        raise ValueError(f"`{name}` must be in (0, 1]. Received: {name}={value}")
    return value


def check_below_one(name: str, value: float) -> float:
    """`value` if it lies in [0, 1); otherwise an error that names it."""
    if not 0 <= value < 1:
        raise ValueError(f"`{name}` must be in [0, 1). Received: {name}={value}")
    return value


def check_choice(name: str, value: object, choices: Sequence[object]) -> object:
    """`value` if it is one of the choices; otherwise an error that names them."""
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {list(choices)}. Received: {name}={value!r}")
    return value


def check_at_least(name: str, value: int, low: int) -> int:
    """`value` if it is an integer of at least `low`; otherwise an error that names it."""
    if isinstance(value, bool) or int(value) != value or value < low:
        raise ValueError(f"`{name}` must be an integer of at least {low}. Received: {name}={value}")
    return int(value)


def check_odd(name: str, value: int) -> int:
    """`value` if it is an odd number above 0; otherwise an error that names it."""
    if isinstance(value, bool) or int(value) != value or value < 1 or value % 2 == 0:
        raise ValueError(f"`{name}` must be odd and at least 1. Received: {name}={value}")
    return int(value)


def check_class_weights(class_weights: Sequence[float] | None) -> list[float] | None:
    """The weights as a list of finite floats ≥ 0, or None; otherwise an error that names them."""
    if class_weights is None:
        return None
    weights = [float(w) for w in class_weights]
    if not all(0 <= w < float("inf") for w in weights):
        raise ValueError(
            f"`class_weights` must be finite and ≥ 0. Received: class_weights={weights}"
        )
    return weights
