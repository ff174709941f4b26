"""Signals that end a process, raised at once, or where a loop stops without losing a step."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

# Ctrl-C, what systems end processes by, and a closed terminal.
NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
AGAIN = b"\nStopping after this step; once more to stop at once\n"


class Interrupted(KeyboardInterrupt):
    """A signal that ends the process.

    Args:
        number: The signal's.
        is_second: Whether it was not waited for the end of what must not be counted by half.
    """

    def __init__(self, number: int, *, is_second: bool):
        super().__init__()
        self.signal = signal.Signals(number)
        self.is_second = is_second


class _State:
    """Of the one process; signals know no other place."""

    caught: Interrupted | None = None
    is_deferred = False


def is_caught() -> bool:
    """Return whether a signal was caught that ends the process."""
    return _State.caught is not None


def raise_caught() -> None:
    """Raise the signal that was caught, if any: a loop calls this where it can stop.

    Not only where signals are deferred: what a handler raises within a callback of TensorFlow or
    while an object is deleted is lost.
    """
    if _State.caught is not None:
        raise _State.caught


@contextmanager
def deferred() -> Iterator[None]:
    """Leave signals to `raise_caught`, but a second one: no step is counted by half."""
    _State.is_deferred = True
    try:
        yield
    finally:
        _State.is_deferred = False


@contextmanager
def as_interrupts() -> Iterator[None]:
    """Raise `Interrupted` at the signals, unless one is ignored, as `nohup` has SIGHUP."""
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    former = {number: signal.getsignal(number) for number in numbers}
    caught = [number for number, handler in former.items() if handler is not signal.SIG_IGN]
    for number in caught:
        signal.signal(number, _interrupt)
    try:
        yield
    except Exception as error:
        if _State.caught is not None:  # of which TensorFlow has made an error of its own
            raise _State.caught from error
        raise
    finally:
        _State.caught = None
        for number in caught:
            signal.signal(number, former[number])


def take_back() -> None:
    """Install the handlers that Python knows again, where a library has put its own in their place.

    TensorFlow does so in a cluster, and SIGTERM would do nothing there.
    """
    for number in (getattr(signal, name) for name in NAMES if hasattr(signal, name)):
        handler = signal.getsignal(number)
        if handler is not None:
            signal.signal(number, handler)


def _interrupt(number: int, _frame: object) -> None:
    is_second = _State.caught is not None
    _State.caught = Interrupted(number, is_second=is_second)
    if _State.is_deferred and not is_second:
        os.write(2, AGAIN)  # not `print`, which may be what was interrupted
        return
    raise _State.caught
