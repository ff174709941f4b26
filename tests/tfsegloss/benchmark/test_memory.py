"""The memory of a loss, and the measurements that say themselves that they are none."""

import os
import subprocess

import pytest
import tensorflow as tf

from tests.tfsegloss.benchmark.command import run
from tfsegloss.benchmark import measure, memory
from tfsegloss.benchmark.memory import Memory, Peak
from tfsegloss.core.keras_versions import keras

NO_PEAK = "steps: no peak was seen"


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        (Peak(0), NO_PEAK),
        (Peak(-4096), NO_PEAK),
        (Peak(200, reclaimed=30), "steps: the system took"),
        (Peak(-4096, reclaimed=8192), "steps: the system took"),
    ],
)
def test_what_is_no_measurement_says_why(steps, reason):
    found = memory.as_multiples(steps, Peak(250, reclaimed=25), 100)
    assert found.steps is None
    assert found.with_compiling == 2.5
    assert found.not_measured.startswith(reason)


def test_what_a_process_measured_comes_back(capfd, monkeypatch):
    peaks = (Peak(972), Peak(1944, reclaimed=3))
    monkeypatch.setattr(memory, "gpus", lambda: [])
    monkeypatch.setattr(memory, "extra_bytes", lambda make, shape: peaks)

    def in_this_process(command, **_):
        assert command[1:3] == ["-m", "tfsegloss.benchmark"]
        outcome = run(capfd, *command[3:])
        return subprocess.CompletedProcess(command, outcome.status, outcome.out, outcome.err)

    monkeypatch.setattr(subprocess, "run", in_this_process)
    found = memory.multiples("Keras", None, (1, 9, 9, 3), lambda line: None)
    assert found == Memory(steps=1.0, with_compiling=2.0)


def test_a_process_that_fails_is_no_measurement(monkeypatch):
    monkeypatch.setattr(memory, "gpus", lambda: [])
    lines, failure = [], subprocess.CompletedProcess([], 1, "", "Traceback\nno NoSuchLoss")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failure)
    found = memory.multiples("NoSuchLoss", None, (1, 9, 9, 3), lines.append)
    reason = "its process ended with status 1. no NoSuchLoss"
    assert found == Memory(None, None, reason)
    assert lines[-1] == f"NoSuchLoss: memory not measured: {reason}"


class Copies(keras.losses.Loss):
    """Takes `count` further copies of the logits while it makes its gradient."""

    def __init__(self, count):
        super().__init__()
        self.count = count

    def call(self, y_true, y_pred):
        # Not NumPy: TensorFlow may free an array that it took as a tensor at a later call.
        def gradient(x):
            copies = tf.ones([self.count, *x.shape])
            return copies[0] + 1.0

        @tf.custom_gradient
        def value(x):
            return tf.reduce_sum(x), lambda upstream: tf.ensure_shape(
                tf.py_function(gradient, [x], tf.float32), x.shape
            )

        return value(y_pred)


def needs_a_peak_of_its_own():
    if measure.gpus():
        pytest.skip("the memory of NumPy is not that of the GPU")
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("the system does not let a process forget its peak: no /proc/self/clear_refs")


def skip_what_was_not_measured(found):
    """Of a measurement that says itself what the machine spoilt."""
    if found.not_measured:
        pytest.skip(found.not_measured)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 4])
def test_copies_of_the_logits_are_counted(count):
    needs_a_peak_of_its_own()
    # So large that each goes back to the system when it is freed, in this process too.
    shape = (1, 512, 512, 40)
    peaks = memory.extra_bytes(lambda: Copies(count), shape)
    found = memory.as_multiples(*peaks, memory.logits_bytes(shape))
    skip_what_was_not_measured(found)
    assert found.steps == pytest.approx(count, abs=0.4)
    assert found.with_compiling == pytest.approx(count, abs=0.5)


@pytest.mark.slow
def test_memory_of_a_fresh_process():
    needs_a_peak_of_its_own()
    lines = []
    found = memory.multiples("SSLLoss", None, (1, 257, 257, 21), lines.append)
    assert lines[0] == "SSLLoss: memory"
    skip_what_was_not_measured(found)
    assert 0 < found.steps < found.with_compiling
