"""`python -m train score`: what it writes, and where."""

import json
import shutil

import pytest

from tests.commands import assert_one_line
from train.commands import score
from train.compare.results import read_results


@pytest.fixture
def run(trained_run, tmp_path, small_networks):
    """Return the folder of a finished run."""
    return shutil.copytree(trained_run, tmp_path / "a/ce-seed0")


@pytest.fixture
def not_scored(monkeypatch):
    """Fail where a run is scored all the same."""

    def fail(*_arguments):
        raise AssertionError("scored")

    monkeypatch.setattr(score, "score", fail)


@pytest.mark.parametrize(
    ("options", "name"), [([], "ce"), (["--name=camvid/ce"], "camvid/ce")], ids=["its own", "given"]
)
def test_results_have_the_name_of_the_folder_or_the_one_that_is_given(
    train, run, tmp_path, options, name
):
    outcome = train("score", run, *options, f"--results={tmp_path}/results")
    assert outcome.status == 0
    path = tmp_path / f"results/{name}-seed0.json"
    assert f"Scores: {path}" in outcome.out
    results = read_results(path)
    assert (results.name, results.seed, len(results.images)) == (name, 0, 3)
    assert [*tmp_path.glob("results/**/*.json")] == [path]


def test_a_run_may_be_scored_again(train, run, tmp_path):
    path = tmp_path / "train/results/ce-seed0.json"
    assert train("score", run).status == 0
    before = path.read_text()
    path.write_text(before.replace('"seconds_per_step"', '"seconds_per_step" '))
    assert train("score", run).status == 0
    assert path.read_text() == before


def test_results_of_another_training_are_not_replaced(train, run, tmp_path, monkeypatch, request):
    other = shutil.copytree(run, tmp_path / "b/ce-seed0")
    started = json.loads((other / "summary.json").read_text())
    started["starts"][0]["time"] = "2020-01-01T00:00:00+00:00"
    (other / "summary.json").write_text(json.dumps(started))
    assert train("score", run).status == 0
    path = tmp_path / "train/results/ce-seed0.json"
    before = path.read_bytes()
    request.getfixturevalue("not_scored")
    outcome = train("score", other)
    assert_one_line(outcome, "ce-seed0.json is of a training of ", "of 2020-01-01T00:00:00+00:00")
    assert path.read_bytes() == before


@pytest.mark.usefixtures("not_scored")
def test_where_no_run_is_nothing_is_left(train, tmp_path):
    assert_one_line(train("score", "typo"), "typo is no run")
    assert not [*tmp_path.iterdir()]


@pytest.mark.usefixtures("not_scored")
def test_a_file_in_the_way_is_named_before_scoring(train, run, tmp_path):
    (tmp_path / "results").touch()
    outcome = train("score", run, "--results=results")
    assert_one_line(outcome, "results: results: expected a folder, results is a file")
