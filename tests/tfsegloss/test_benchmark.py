"""The benchmark: what it prints, writes and refuses, and the arithmetic in it. No times."""

import json
import math
import subprocess

import pytest

from tests.commands import Outcome, assert_one_line
from tfsegloss import benchmark, benchmark_measure, benchmark_memory, benchmark_report, command_line

SHAPE = ("--shape", "1", "17", "17", "3")
CHOSEN = ("Keras", "SoftmaxCrossEntropy")


def run(capfd, *arguments):
    capfd.readouterr()
    status = 0
    try:
        benchmark.main([*map(str, arguments)])
    except SystemExit as stop:
        status = stop.code or 0
    return Outcome(status, *capfd.readouterr())


def rows(table):
    """Entries of the lines below the one that names the columns."""
    lines = [line.split() for line in table.splitlines()]
    (start,) = (i for i, line in enumerate(lines) if line[:2] == ["loss", "plain"])
    return {line[0]: line[1:] for line in lines[start + 1 :]}


def timing(seconds, unit):
    return benchmark_measure.Timing(0.5, [seconds], seconds, seconds / unit)


def measured(loss, seconds, **others):
    both = {mode: timing(seconds, unit=2.0) for mode in benchmark_measure.MODES}
    return benchmark_report.Row(loss, **both, **others)


@pytest.fixture
def small_growth(monkeypatch):
    for name, value in {"SIDES": (8, 9), "FITTED_SIDE": 8, "CLASSES": (2, 3)}.items():
        monkeypatch.setattr(benchmark_measure, name, value)
    monkeypatch.setattr(benchmark_measure, "CLASSES_SIDE", 9)


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
        for mode in benchmark_measure.MODES:
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
    assert {path.name for path in tmp_path.iterdir()} == {"numbers.json", "picture.png"}


def test_what_is_skipped_is_a_dash(capfd):
    skip = ("--skip-memory", "--skip-growth")
    outcome = run(capfd, *SHAPE, "--rounds", 1, *skip, "--losses", "Keras")
    assert {loss: entries[4:7] for loss, entries in rows(outcome.out).items()} == {
        "Keras": ["-", "-", "-"]
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
        (["--plot", "."], ["cannot write"]),
        (["--nonsense"], ["--nonsense"]),
    ],
)
def test_a_mistake_ends_with_one_line(capfd, arguments, parts):
    assert_one_line(run(capfd, *arguments), *parts)


def test_the_losses_are_all_of_the_library():
    names = list(benchmark.losses())
    assert names[0] == "Keras"
    assert {"RMILoss", "LADLoss", "LMPLoss", "SSLLoss", "SSIMLoss/contrast_structure"} < set(names)
    assert {f"SoftmaxCrossEntropy/{p}" for p in ("Minkowski", "TopK", "MaxPooling")} < set(names)
    assert not {"PixelLoss", "WeightedLosses", "SegmentationLoss"} & set(names)


@pytest.mark.parametrize("a", [-1.0, 0.0, 1.0, 2.5])
def test_the_exponent_of_a_power_law(a):
    sizes = [3, 10, 70, 1000]
    found = benchmark_measure.exponent(sizes, [0.7 * size**a for size in sizes])
    assert found == pytest.approx(a, abs=1e-12)


def test_small_sizes_are_not_fitted(monkeypatch):
    monkeypatch.setattr(benchmark_measure, "_least_seconds", lambda make, s: max(9, s[1]) ** 4)
    monkeypatch.setattr(benchmark_measure, "SIDES", (3, 9, 27, 81))
    monkeypatch.setattr(benchmark_measure, "FITTED_SIDE", 9)
    growth = benchmark_measure.pixel_growth(None, classes=2)
    assert growth.exponent == pytest.approx(2)
    assert growth.seconds[0] == growth.seconds[1]


@pytest.mark.parametrize("extra", [0, -4096])
def test_no_memory_is_a_failed_measurement(extra):
    multiple = benchmark_memory.as_multiple(extra, 100)
    assert multiple == "failed"
    assert "failed" in benchmark_report.cells(measured("a", 1.0, memory=multiple))


def test_memory_of_a_fresh_process():
    keras_loss = benchmark.losses()["Keras"]
    lines = []
    multiple, _ = benchmark_memory.multiple("Keras", keras_loss, (1, 257, 257, 21), lines.append)
    assert multiple == "failed" or 0 < multiple < 20
    assert lines == ["Keras: memory"]


def test_a_process_that_fails_is_a_failed_measurement(monkeypatch):
    lines, failure = [], subprocess.CompletedProcess([], 1, "", "no NoSuchLoss")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failure)
    multiple, _ = benchmark_memory.multiple("NoSuchLoss", None, (1, 9, 9, 3), lines.append)
    assert multiple == "failed"
    assert "NoSuchLoss" in lines[-1]


def test_the_picture_without_growth():
    content = benchmark_report.picture([measured("a", 1.0), measured("b", 3.0)], "title")
    assert content.startswith(b"\x89PNG")


def test_what_cannot_be_finished_leaves_nothing(tmp_path):
    path = tmp_path / "numbers.json"
    path.write_bytes(b"old")
    with pytest.raises(TypeError):
        command_line.write_whole(path, "text, not bytes")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("numbers.json", b"old")]
