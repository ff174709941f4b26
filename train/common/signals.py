"""Signals that end a process, raised at once, or where a loop stops without losing a step."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from train.common.errors import LostWorkerError, UserError

# Ctrl-C, what systems end processes by, and a closed terminal.
NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
AGAIN = b"\nStopping after this step; once more to stop at once\n"
# What is added to a signal's number in the status of a process that it ends, as shells have it.
STATUS = 128


class Interrupted(KeyboardInterrupt):
    """A signal that ends the process.

    Args:
        number: The signal's.
        is_second: Whether it was not waited for the end of what must not be counted by half.
        words: What to say; None: which signal it is.
    """

    def __init__(self, number: int, *, is_second: bool, words: str | None = None):
        self.signal = signal.Signals(number)
        self.is_second = is_second
        is_key = self.signal == signal.SIGINT  # Ctrl-C
        super().__init__(words or ("interrupted" if is_key else f"ended by {self.signal.name}"))

    @property
    def status(self) -> int:
        """That the process ends with."""
        return STATUS + self.signal


def is_status(status: int) -> bool:
    """Return whether one of the signals ends a process so, handled or not.

    Args:
        status: As `subprocess` has it; of one that is not handled it is less than 0.
    """
    return any(status in (STATUS + number, -number) for number in _numbers())


def status_in_words(status: int) -> str:
    """Say how a process has ended that did not end well: a part of a sentence.

    Args:
        status: As `subprocess` has it.
    """
    if status < 0:
        by = signal.Signals(-status)
        memory = ", as when memory runs out" if by == signal.SIGKILL else ""
        return f"was killed by {by.name}{memory}"
    if is_status(status):
        return f"was ended by {signal.Signals(status - STATUS).name}"
    return f"ended with status {status}"


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
    """Leave signals to `raise_caught`, but a second one: no step is counted by half.

    Within another such block they stay deferred at the end of this one.
    """
    former, _State.is_deferred = _State.is_deferred, True
    try:
        yield
    finally:
        _State.is_deferred = former


@contextmanager
def as_interrupts() -> Iterator[None]:
    """Raise `Interrupted` at the signals, unless one is ignored, as `nohup` has SIGHUP.

    What the user must know passes: that the step could not be saved, such as on a full disk. That
    another worker is gone is said with the signal, which all may have got.
    """
    former = {number: signal.getsignal(number) for number in _numbers()}
    caught = [number for number, handler in former.items() if handler is not signal.SIG_IGN]
    for number in caught:
        signal.signal(number, _interrupt)
    try:
        yield
    except LostWorkerError as error:
        if stop := _State.caught:
            words = f"{stop}: {error}"
            raise Interrupted(stop.signal, is_second=stop.is_second, words=words) from error
        raise
    except Exception as error:
        must_know = isinstance(error, UserError)
        if _State.caught is not None and not must_know:  # TensorFlow may have made another of it
            raise _State.caught from error
        raise
    finally:
        _State.caught = None
        for number in caught:
            signal.signal(number, former[number])


@contextmanager
def heard_by(hear: Callable[[int], None]) -> Iterator[None]:
    """Hand the signals to a function, each at once, but one that is ignored; none is raised.

    Args:
        hear: Gets a signal's number.
    """
    former = {number: signal.getsignal(number) for number in _numbers()}
    caught = [number for number, handler in former.items() if handler is not signal.SIG_IGN]
    try:
        for number in caught:
            signal.signal(number, lambda number, _frame: hear(number))
        yield
    finally:
        for number in caught:
            signal.signal(number, former[number])


@contextmanager
def as_by_default() -> Iterator[None]:
    """Let signals end the process at once, while a library does not let Python hear them.

    Then the former handlers are installed again, also where the library has put its own in their
    place: TensorFlow does so in a cluster, and SIGTERM would do nothing there.
    """
    former = {number: signal.getsignal(number) for number in _numbers()}
    known = {number: handler for number, handler in former.items() if handler is not None}
    try:
        for number, handler in known.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        yield
    finally:
        for number, handler in known.items():
            signal.signal(number, handler)


def _numbers() -> list[signal.Signals]:
    """Return the signals of this system."""
    return [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


def _interrupt(number: int, _frame: object) -> None:
    is_second = _State.caught is not None
    _State.caught = Interrupted(number, is_second=is_second)
    if _State.is_deferred and not is_second:
        os.write(2, AGAIN)  # not `print`, which may be what was interrupted
        return
    raise _State.caught
