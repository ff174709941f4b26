"""Ranges of options, and the words of their errors."""

from collections.abc import Collection


def check_choice(name: str, value: object, choices: Collection[object]) -> None:
    """Raise ValueError unless `value` is one of `choices`, which it lists."""
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {tuple(choices)}. Received: {name}={value!r}")


def check_channels(channels: int | None) -> None:
    """Raise ValueError unless a width is None or at least 1."""
    if channels is not None and channels < 1:
        raise ValueError(f"`channels` must be None or at least 1. Received: channels={channels}")


def check_dropout(dropout: float) -> None:
    """Raise ValueError unless a rate is in [0, 1)."""
    if not 0 <= dropout < 1:
        raise ValueError(f"`dropout` must be in [0, 1). Received: dropout={dropout}")


def check_classes(classes: int) -> None:
    """Raise ValueError unless there is a class."""
    if classes < 1:
        raise ValueError(f"`classes` must be at least 1. Received: classes={classes}")
