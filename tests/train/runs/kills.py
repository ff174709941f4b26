"""How often the tests of killed runs kill one, which the environment may change."""

import os


def read_kills(variable: str, default: int, most: int | None = None) -> int:
    """Return the number that a variable of the environment gives.

    Args:
        variable: Its name.
        default: The number where it is not set.
        most: How many there can be; None: any number.

    Raises:
        ValueError: It is no such number.
    """
    text = os.environ.get(variable, str(default))
    count = int(text) if text.isdecimal() else 0
    if count < 1 or (most is not None and count > most):
        expected = "at least 1" if most is None else f"from 1 to {most}"
        raise ValueError(f"the variable {variable} must be {expected}; got {text!r}")
    return count
