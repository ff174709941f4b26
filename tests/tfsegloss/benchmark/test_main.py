"""The benchmark's command line: what it prints, writes and refuses. No times."""

import itertools
import json
import math

import pytest

from tests.commands import assert_one_line
from tests.tfsegloss.benchmark.command import run
from tfsegloss.benchmark import __main__ as program
from tfsegloss.benchmark import measure
from tfsegloss.benchmark.losses import losses

SHAPE = ("--shape", "1", "17", "17", "3")
CHOSEN = ("Keras", "SoftmaxCrossEntropy")


def rows(table):
    """Entries of the lines below the one that names the columns."""
    lines = [line.split() for line in table.splitlines()]
    (start,) = (i for i, line in enumerate(lines) if line[:2] == ["loss", "plain"])
    return {line[0]: line[1:] for line in itertools.takewhile(bool, lines[start + 1 :])}


@pytest.fixture
def small_growth(monkeypatch):
    for name, value in {"SIDES": (8, 9), "FITTED_SIDE": 8, "CLASSES": (2, 3)}.items():
        monkeypatch.setattr(measure, name, value)
    monkeypatch.setattr(measure, "CLASSES_SIDE", 9)


def test_every_number_of_a_run(capfd, tmp_path, small_growth):
    numbers, picture = tmp_path / "numbers.json", tmp_path / "picture.png"
    options = ("--rounds", 2, "--skip_memory", "--json", numbers, "--plot", picture)
    outcome = run(capfd, *SHAPE, *options, "--losses", CHOSEN[1])
    assert outcome.status == 0
    assert "17×17" in outcome.out
    assert "round 2 of 2" in outcome.err
    assert list(rows(outcome.out)) == list(CHOSEN)

    content = json.loads(numbers.read_text())
    assert content["setup"].keys() >= {"tensorflow", "keras", "python", "device", "cores", "rounds"}
    (table,) = content["tables"]
    assert table["shape"] == [1, 17, 17, 3]
    assert [row["loss"] for row in table["losses"]] == list(CHOSEN)
    for row in table["losses"]:
        for mode in measure.MODES:
            assert len(row[mode]["rounds_seconds"]) == 2
            over_keras = row[mode].pop("compile_over_keras")
            assert math.isfinite(over_keras)
            assert over_keras == 0 or row["loss"] != "Keras"
            several = [*row[mode].pop("rounds_seconds"), *row[mode].values()]
            assert all(0 < number < math.inf for number in several)
        assert row["memory"] is None
        for growth, sizes in (("pixels", [64, 81]), ("classes", [2, 3])):
            assert row[growth]["sizes"] == sizes
            assert all(0 < seconds < math.inf for seconds in row[growth]["seconds"])
            assert math.isfinite(row[growth]["exponent"])
    assert table["losses"][0]["plain"]["ratio"] == 1
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert content["complete"] is True
    assert f"Numbers: {numbers}\nPlot: {picture}\n" in outcome.out
    assert {path.name for path in tmp_path.iterdir()} == {"numbers.json", "picture.png"}


@pytest.mark.parametrize(
    ("stop", "status", "last"),
    [
        (KeyboardInterrupt, 130, "interrupted"),
        pytest.param(OSError("no space"), 2, "error: no space", marks=pytest.mark.full),
    ],
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
    options = ("--rounds", 1, "--skip_memory", "--json", numbers, "--losses", CHOSEN[1])
    outcome = run(capfd, *SHAPE, *options)
    assert outcome.status == status
    assert outcome.err.splitlines()[-1].endswith(last)
    content = json.loads(numbers.read_text())
    assert content["complete"] is False
    ((first, second),) = (table["losses"] for table in content["tables"])
    assert math.isfinite(first["classes"]["exponent"])
    assert second["classes"] is None
    assert second["plain"]["median_seconds"] > 0


def test_a_table_for_each_number_of_classes_and_a_dash_for_what_is_skipped(capfd, tmp_path):
    options = ("--rounds", 1, "--skip_memory", "--skip_growth", "--losses", "Keras")
    numbers = tmp_path / "numbers.json"
    outcome = run(capfd, *SHAPE, *options, "--num_classes", 2, 300, "--json", numbers)
    first, second = outcome.out.split("logits ")[1:]
    for num_classes, text in ((2, first), (300, second)):
        assert text.startswith(f"1×17×17×{num_classes} ")
        assert rows(text)["Keras"][4:8] == ["-"] * 4
    tables = json.loads(numbers.read_text())["tables"]
    assert [table["shape"][-1] for table in tables] == [2, 300]


def test_losses_of_more_classes_are_left_out(capfd, monkeypatch):
    some = {name: losses()[name] for name in (*CHOSEN, "LADLoss")}
    monkeypatch.setattr(program, "losses", lambda: some)
    options = ("--rounds", 1, "--skip_memory", "--skip_growth", "--num_classes", 2)
    outcome = run(capfd, *SHAPE, *options)
    assert list(rows(outcome.out)) == list(CHOSEN)
    assert "Not measured, for 2 classes are too few: LADLoss\n" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--losses", "NoSuchLoss"], ["NoSuchLoss", "SSIMLoss/contrast_structure"]),
        (["--shape", "1", "17", "17"], ["--shape"]),
        (["--shape", "1", "0", "17", "3"], ["--shape", "0"]),
        (["--shape", "1", "17", "17", "1"], ["--shape", "C"]),
        (["--num_classes", "1"], ["C", "1)"]),
        (["--num_classes", "2", "--losses", "LADLoss"], ["≥ 3 for LADLoss", "2)"]),
        (["--num_classes", "3", "4", "--plot", "x.png"], ["--plot", "--num_classes"]),
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
