"""Checks of options that several networks share, and the wording of their errors."""

from collections.abc import Collection, Iterable, Sequence
from numbers import Integral, Real

# Names that an error lists.
_SHOWN = 3


def check_choice(name: str, value: object, choices: Collection[object]) -> None:
    """Raise ValueError unless `value` is one of `choices`, which it lists."""
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {tuple(choices)}. Received: {name}={value!r}")


def check_channels(channels: int | None) -> None:
    """Raise ValueError unless `channels` is None or an integer of at least 1."""
    if channels is not None and not _is_positive(channels):
        raise ValueError(f"`channels` must be None or at least 1. Received: channels={channels!r}")


def check_dropout(dropout: float) -> None:
    """Raise ValueError unless `dropout` is in [0, 1)."""
    if not isinstance(dropout, Real) or not 0 <= dropout < 1:
        raise ValueError(f"`dropout` must be in [0, 1). Received: dropout={dropout!r}")


def check_num_classes(num_classes: int) -> None:
    """Raise ValueError unless `num_classes` is an integer of at least 1."""
    if not _is_positive(num_classes):
        raise ValueError(
            f"`num_classes` must be an integer of at least 1. Received: num_classes={num_classes!r}"
        )


def check_rates(rates: Sequence[int], *, least: int) -> None:
    """Raise ValueError unless there are at least `least` dilation rates, all of them ≥ 1."""
    fits = isinstance(rates, (tuple, list)) and all(map(_is_positive, rates))
    if not fits or len(rates) < least:
        raise ValueError(
            f"`atrous_rates` must be at least {least} integers of at least 1. "
            f"Received: atrous_rates={rates!r}"
        )


def shorten(names: Iterable[str]) -> str:
    """List the first few names and how many more there are, for an error.

    Example:
        >>> shorten(["a", "b", "c", "d", "e"])
        'a, b, c and 2 more'
    """
    names = list(names)
    shown = ", ".join(names[:_SHOWN]) or "none"
    more = len(names) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _is_positive(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= 1
