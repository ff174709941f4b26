"""Runs `python -m PACKAGE …` inside the test's process, where TensorFlow has already started."""

import runpy
import sys
from dataclasses import dataclass

TINY_RUN = (
    "--trainer.steps=4",
    "--trainer.batch_size=2",
    "--trainer.evaluate_every=2",
    "--trainer.checkpoint_every=1",
    "--schedule.warmup_steps=1",
    "--input.crop=[48, 64]",
)


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it printed."""

    status: int
    out: str
    err: str


class _Uncaptured:
    """In the place of `capfd`, which lives for one test, where a fixture runs a command."""

    def readouterr(self):
        return "", ""


UNCAPTURED = _Uncaptured()


def command(monkeypatch, capfd, package, *arguments):
    """Run a command; return its exit status and output."""
    monkeypatch.setattr(sys, "argv", [package, *map(str, arguments)])
    capfd.readouterr()
    status = 0
    try:
        runpy.run_module(package, run_name="__main__", alter_sys=False)
    except SystemExit as stop:
        status = stop.code or 0
    return Outcome(status, *capfd.readouterr())


def assert_one_line(outcome, *parts):
    """Require status 2, and one line on standard error that names all parts."""
    assert outcome.status == 2
    (line,) = outcome.err.strip().splitlines()
    assert line.startswith("python -m ")
    for part in parts:
        assert str(part) in line
