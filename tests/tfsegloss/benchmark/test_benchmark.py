"""The benchmark: what it prints, writes and refuses, and the arithmetic in it. No times."""

import itertools
import json
import math
import os
import subprocess

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.commands import Outcome, assert_one_line
from tfsegloss.benchmark import __main__ as program
from tfsegloss.benchmark import losses, measure, memory, report
from tfsegloss.benchmark.memory import Memory
from tfsegloss.core import command_line

SHAPE = ("--shape", "1", "17", "17", "3")
CHOSEN = ("Keras", "SoftmaxCrossEntropy")


def run(capfd, *arguments):
    capfd.readouterr()
    status = 0
    try:
        program.main([*map(str, arguments)])
    except SystemExit as stop:
        status = stop.code or 0
    return Outcome(status, *capfd.readouterr())


def rows(table):
    """Entries of the lines below the one that names the columns."""
    lines = [line.split() for line in table.splitlines()]
    (start,) = (i for i, line in enumerate(lines) if line[:2] == ["loss", "plain"])
    return {line[0]: line[1:] for line in itertools.takewhile(bool, lines[start + 1 :])}


def timing(seconds, unit):
    return measure.Timing(0.5, [seconds], seconds, seconds / unit)


def measured(loss, seconds, **others):
    both = {mode: timing(seconds, unit=2.0) for mode in measure.MODES}
    return report.Row(loss, **both, **others)


@pytest.fixture
def small_growth(monkeypatch):
    for name, value in {"SIDES": (8, 9), "FITTED_SIDE": 8, "CLASSES": (2, 3)}.items():
        monkeypatch.setattr(measure, name, value)
    monkeypatch.setattr(measure, "CLASSES_SIDE", 9)


def test_every_number_of_a_run(capfd, tmp_path, small_growth):
    numbers, picture = tmp_path / "numbers.json", tmp_path / "picture.png"
    options = ("--rounds", 2, "--skip-memory", "--json", numbers, "--plot", picture)
    outcome = run(capfd, *SHAPE, *options, "--losses", CHOSEN[1])
    assert outcome.status == 0
    assert "17×17" in outcome.out
    assert "round 2 of 2" in outcome.err
    assert list(rows(outcome.out)) == list(CHOSEN)

    content = json.loads(numbers.read_text())
    assert content["setup"]["shape"] == [1, 17, 17, 3]
    assert content["setup"].keys() >= {"tensorflow", "keras", "python", "device", "cores", "rounds"}
    assert [row["loss"] for row in content["losses"]] == list(CHOSEN)
    for row in content["losses"]:
        for mode in measure.MODES:
            assert len(row[mode]["rounds_seconds"]) == 2
            several = [*row[mode].pop("rounds_seconds"), *row[mode].values()]
            assert all(0 < number < math.inf for number in several)
        assert row["memory"] is None
        for growth, sizes in (("pixels", [64, 81]), ("classes", [2, 3])):
            assert row[growth]["sizes"] == sizes
            assert all(0 < seconds < math.inf for seconds in row[growth]["seconds"])
            assert math.isfinite(row[growth]["exponent"])
    assert content["losses"][0]["plain"]["ratio"] == 1
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert content["complete"] is True
    assert f"Numbers: {numbers}\nPlot: {picture}\n" in outcome.out
    assert {path.name for path in tmp_path.iterdir()} == {"numbers.json", "picture.png"}


@pytest.mark.parametrize(
    ("stop", "status", "last"),
    [(KeyboardInterrupt, 130, "interrupted"), (OSError("no space"), 2, "error: no space")],
)
def test_what_was_measured_before_a_stop_is_there(
    capfd, tmp_path, monkeypatch, small_growth, stop, status, last
):
    numbers, growth, calls = tmp_path / "numbers.json", measure.class_growth, []

    def second_stops(make):
        calls.append(make)
        if len(calls) == 2:
            raise stop
        return growth(make)

    monkeypatch.setattr(measure, "class_growth", second_stops)
    options = ("--rounds", 1, "--skip-memory", "--json", numbers, "--losses", CHOSEN[1])
    outcome = run(capfd, *SHAPE, *options)
    assert outcome.status == status
    assert outcome.err.splitlines()[-1].endswith(last)
    content = json.loads(numbers.read_text())
    assert content["complete"] is False
    first, second = content["losses"]
    assert math.isfinite(first["classes"]["exponent"])
    assert second["classes"] is None
    assert second["plain"]["median_seconds"] > 0


def test_what_is_skipped_is_a_dash(capfd):
    skip = ("--skip-memory", "--skip-growth")
    outcome = run(capfd, *SHAPE, "--rounds", 1, *skip, "--losses", "Keras")
    assert {loss: entries[4:8] for loss, entries in rows(outcome.out).items()} == {
        "Keras": ["-", "-", "-", "-"]
    }


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--losses", "NoSuchLoss"], ["NoSuchLoss", "SSIMLoss/contrast_structure"]),
        (["--shape", "1", "17", "17"], ["--shape"]),
        (["--shape", "1", "0", "17", "3"], ["--shape", "0"]),
        (["--shape", "1", "17", "17", "1"], ["--shape", "C"]),
        (["--shape", "1", "17", "17", "256"], ["--shape", "255"]),
        (["--rounds", "0"], ["--rounds", "0"]),
        (["--json", "no/such/folder/x.json"], ["no/such/folder/x.json"]),
        (["--json", "."], ["expected a file, it is a folder"]),
        (["--plot", "x.pdf"], ["x.pdf", ".png"]),
        (["--json", "./x.png", "--plot", "x.png"], ["x.png", "choose another name"]),
        (["--nonsense"], ["--nonsense"]),
    ],
)
def test_a_mistake_ends_with_one_line(capfd, arguments, parts):
    assert_one_line(run(capfd, *arguments), *parts)


def test_the_losses_are_all_of_the_library():
    names = list(losses.losses())
    assert names[0] == "Keras"
    assert {"RMILoss", "LADLoss", "LMPLoss", "SSLLoss", "SSIMLoss/contrast_structure"} < set(names)
    assert {f"SoftmaxCrossEntropy/{p}" for p in ("Minkowski", "TopK", "MaxPooling")} < set(names)
    assert not {"PixelLoss", "WeightedLosses", "SegmentationLoss"} & set(names)


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


@pytest.mark.parametrize("extra", [0, -4096])
def test_no_memory_is_a_failed_measurement(extra):
    found = memory.as_multiples((extra, 250), 100)
    assert found == Memory(steps=None, with_compiling=2.5)
    assert report.cells(measured("a", 1.0, memory=found))[5:7] == ["failed", "2.50"]


class Copies(keras.losses.Loss):
    """Takes `count` further copies of the logits while it makes its gradient."""

    def __init__(self, count):
        super().__init__()
        self.count = count

    def call(self, y_true, y_pred):
        def gradient(x):
            copies = np.ones([self.count, *x.shape], np.float32)
            return copies[0] + np.float32(1)

        @tf.custom_gradient
        def value(x):
            return tf.reduce_sum(x), lambda upstream: tf.ensure_shape(
                tf.numpy_function(gradient, [x], tf.float32), x.shape
            )

        return value(y_pred)


def needs_a_peak_of_its_own():
    if measure.gpus():
        pytest.skip("the memory of NumPy is not that of the GPU")
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("the system does not let a process forget its peak: no /proc/self/clear_refs")


@pytest.mark.parametrize("count", [1, 4])
def test_copies_of_the_logits_are_counted(count):
    needs_a_peak_of_its_own()
    # So large that each goes back to the system when it is freed, in this process too.
    shape = (1, 512, 512, 40)
    found = memory.as_multiples(
        memory.extra_bytes(lambda: Copies(count), shape), memory.logits_bytes(shape)
    )
    assert found.steps == pytest.approx(count, abs=0.2)
    assert found.with_compiling == pytest.approx(count, abs=0.5)


def test_memory_of_a_fresh_process():
    needs_a_peak_of_its_own()
    lines = []
    found = memory.multiples("SSLLoss", None, (1, 257, 257, 21), lines.append)
    # The compiler takes more than these logits of 6 MB many times over.
    assert 0 < found.steps < 10 < found.with_compiling
    assert lines == ["SSLLoss: memory"]


def test_a_process_that_fails_is_a_failed_measurement(monkeypatch):
    monkeypatch.setattr(memory, "gpus", lambda: [])
    lines, failure = [], subprocess.CompletedProcess([], 1, "", "no NoSuchLoss")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failure)
    found = memory.multiples("NoSuchLoss", None, (1, 9, 9, 3), lines.append)
    assert found == Memory(None, None)
    assert "NoSuchLoss" in lines[-1]


def test_the_picture_without_growth():
    content = report.picture([measured("a", 1.0), measured("b", 3.0)], "title")
    assert content.startswith(b"\x89PNG")


def test_what_cannot_be_finished_leaves_nothing(tmp_path):
    path = tmp_path / "numbers.json"
    path.write_bytes(b"old")
    with pytest.raises(TypeError):
        command_line.write_whole(path, 3)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("numbers.json", b"old")]
