"""Signals end a process where a loop can stop, and none is lost."""

import contextlib
import ctypes
import os
import signal

import pytest

from train.common import signals
from train.common.errors import LostWorkerError, UserError

NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def none_is_ignored():
    """Handle all of them: the background and `nohup` ignore some for whatever they start."""
    former = [signal.signal(number, signal.default_int_handler) for number in NUMBERS]
    yield
    for number, handler in zip(NUMBERS, former, strict=True):
        signal.signal(number, handler)


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_is_an_interrupt_that_knows_it(number):
    before = signal.getsignal(number)
    with pytest.raises(signals.Interrupted) as stop, signals.as_interrupts():
        send(number)
    assert stop.value.signal == number
    assert isinstance(stop.value, KeyboardInterrupt)
    assert signal.getsignal(number) is before
    signals.raise_caught()  # what was raised is over


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("count", [1, 2])
def test_a_deferred_one_waits_for_the_end_of_a_step_and_a_second_one_does_not(number, count, capfd):
    done = []

    def loop():
        with signals.as_interrupts(), signals.deferred():
            for step in range(3):
                for _ in range(count if step == 1 else 0):
                    send(number)
                done.append(step)
                signals.raise_caught()

    with pytest.raises(signals.Interrupted) as stop:
        loop()
    assert (done, stop.value.is_second) == (([0, 1], False) if count == 1 else ([0], True))
    assert "Stopping after this step; once more to stop at once" in capfd.readouterr().err


def test_one_that_comes_between_two_deferrals_within_a_third_waits():
    """As of a loop that is followed by what must not be left undone."""
    done = []

    def command():
        with signals.as_interrupts(), signals.deferred():
            with signals.deferred():
                done.append("loop")
            send(signal.SIGTERM)
            done.append("end")
            signals.raise_caught()

    with pytest.raises(signals.Interrupted):
        command()
    assert done == ["loop", "end"]


def test_handlers_are_taken_back_from_a_library():
    """As TensorFlow puts one of C in the place of Python's, in a cluster."""

    def command():
        with signals.as_interrupts():
            with signals.as_by_default():
                assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
                ctypes.CDLL(None).signal(int(signal.SIGTERM), 1)  # SIG_IGN
                send(signal.SIGTERM)
            send(signal.SIGTERM)

    with pytest.raises(signals.Interrupted) as stop:
        command()
    assert (stop.value.signal, stop.value.is_second) == (signal.SIGTERM, False)


def test_one_that_was_swallowed_is_raised_by_the_next_loop():
    def command():
        with signals.as_interrupts():
            with contextlib.suppress(KeyboardInterrupt):  # as in a callback of TensorFlow's
                send(signal.SIGTERM)
            signals.raise_caught()

    with pytest.raises(signals.Interrupted):
        command()


def test_one_that_became_another_error_is_itself_again():
    def command():
        with signals.as_interrupts():
            try:
                send(signal.SIGTERM)
            except KeyboardInterrupt:
                raise RuntimeError("of TensorFlow's") from None

    with pytest.raises(signals.Interrupted):
        command()


def test_what_the_user_must_know_is_said_after_a_signal_too():
    def command():
        with signals.as_interrupts(), signals.deferred():
            send(signal.SIGTERM)
            raise UserError("ckpt-2 cannot be written: No space left on device")

    with pytest.raises(UserError, match="No space left"):
        command()


def test_a_worker_that_is_gone_is_said_with_the_signal():
    """Its status is the signal's: all may have got it, and one has ended a little earlier."""

    def command():
        with signals.as_interrupts(), signals.deferred():
            send(signal.SIGTERM)
            raise LostWorkerError("worker 1 is gone")

    with pytest.raises(signals.Interrupted) as stop:
        command()
    assert str(stop.value) == "ended by SIGTERM: worker 1 is gone"
    assert stop.value.status == 143


def test_a_worker_that_is_gone_without_a_signal_is_an_error():
    with pytest.raises(LostWorkerError), signals.as_interrupts():
        raise LostWorkerError("worker 1 is gone")


def test_other_errors_are_left_alone():
    with pytest.raises(RuntimeError, match="mine"), signals.as_interrupts():
        raise RuntimeError("mine")


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.as_interrupts():
            send(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("status", "is_of_them"),
    [(130, True), (143, True), (129, True), (-2, True), (-15, True)]
    + [(0, False), (2, False), (-9, False), (137, False)],
)
def test_the_status_of_a_signal_is_known(status, is_of_them):
    assert signals.is_status(status) == is_of_them


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (1, "ended with status 1"),
        (143, "was ended by SIGTERM"),
        (-15, "was killed by SIGTERM"),
        (-9, "was killed by SIGKILL, as when memory runs out"),
    ],
)
def test_a_status_is_said_in_words(status, words):
    assert signals.status_in_words(status) == words


def test_signals_are_heard_and_none_is_raised():
    heard, before = [], signal.getsignal(signal.SIGTERM)
    with signals.heard_by(heard.append):
        for number in NUMBERS:
            send(number)
    assert heard == NUMBERS
    assert signal.getsignal(signal.SIGTERM) is before
