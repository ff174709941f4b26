"""Commands in processes of their own: what they are given, and how signals reach them."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from train.common import cli
from train.common.errors import UserError
from train.common.signals import Interrupted
from train.compare.execute import score_run, train_recipe

ROOT = Path(__file__).parents[3]
# In the place of `train`: notes its words, then each signal, and ends at the third one.
STAND_IN = """
    import os, signal, sys, time

    notes, caught = os.open("notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT), []

    def note(number, frame):  # each appends its own: one may come while another is noted
        caught.append(number)
        os.write(notes, f" {number}".encode())
        if len(caught) == 3:
            sys.exit(130)

    signal.signal(signal.SIGTERM, note)
    signal.signal(signal.SIGHUP, note)
    os.write(notes, " ".join(sys.argv[1:]).encode())
    if "--seconds" in sys.argv:
        time.sleep(60)
        time.sleep(60)
        time.sleep(60)
"""
ENDS_AT_A_SIGNAL = """
    import signal, sys, time
    from pathlib import Path

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(STATUS))
    Path("notes").write_text("ready")
    time.sleep(20)
    sys.exit(1)
"""
WAITS = """
import signal
from train.common import cli, signals
from train.compare import execute
cli.MODULE = "stand_in"
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which `nohup` ignores for whatever it starts
with signals.as_interrupts():
    execute._execute("fit", ["--seconds"], "run")
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    (tmp_path / "stand_in.py").write_text(textwrap.dedent(STAND_IN))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "MODULE", "stand_in")
    return tmp_path / "notes"


def test_a_recipe_is_trained_with_what_this_process_imports(stand_in, monkeypatch):
    monkeypatch.setattr(cli._Import, "modules", ["my_losses"])
    train_recipe("a.yaml", "runs/a-seed2", 2, "data")
    expected = "--import my_losses fit --config=a.yaml --run=runs/a-seed2 --trainer.seed=2"
    assert stand_in.read_text() == f"{expected} --data.root=data"


def test_a_run_is_scored_under_a_name(stand_in):
    score_run("runs/a-seed2", "a", "results")
    assert stand_in.read_text() == "score runs/a-seed2 --name=a --results=results"


def test_a_command_that_fails_is_named(stand_in):
    (stand_in.parent / "stand_in.py").write_text("raise SystemExit(2)")
    with pytest.raises(
        UserError, match="^score of runs/a ended with status 2: once that is mended"
    ):
        score_run("runs/a", "a", "results")


def test_a_command_that_was_killed_is_named_with_what_may_be_why(stand_in):
    kill = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    (stand_in.parent / "stand_in.py").write_text(kill)
    message = "^score of runs/a was killed by SIGKILL, as when memory runs out: once that is mended"
    with pytest.raises(UserError, match=message):
        score_run("runs/a", "a", "results")


def wait_for(notes, *texts):
    deadline = time.monotonic() + 60
    while not (notes.is_file() and notes.read_text() in texts):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_every_signal_reaches_the_command(stand_in):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(stand_in.parent)])}
    with subprocess.Popen([sys.executable, "-c", WAITS], env=environment) as process:
        expected = "fit --seconds"
        for _ in range(3):
            wait_for(stand_in, expected)
            process.send_signal(signal.SIGTERM)
            expected += " 15"
        wait_for(stand_in, expected)
        assert process.wait(timeout=60)


def test_two_signals_beside_each_other_both_reach_the_command(stand_in):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(stand_in.parent)])}
    with subprocess.Popen([sys.executable, "-c", WAITS], env=environment) as process:
        wait_for(stand_in, "fit --seconds")
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGHUP)  # another one: two of a kind may become one
        wait_for(stand_in, "fit --seconds 15 1", "fit --seconds 1 15")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60)


@pytest.fixture
def signalled(stand_in, monkeypatch):
    """Get a signal when the command has begun, but is not known here; it ends with a status."""
    popen = subprocess.Popen

    def start(*arguments, **options):
        process = popen(*arguments, **options)
        wait_for(stand_in, "ready")
        os.kill(os.getpid(), signal.SIGTERM)
        return process

    def run(status):
        script = textwrap.dedent(ENDS_AT_A_SIGNAL).replace("STATUS", str(status))
        (stand_in.parent / "stand_in.py").write_text(script)
        monkeypatch.setattr(subprocess, "Popen", start)
        score_run("runs/a", "a", "results")

    return run


@pytest.mark.parametrize("status", [0, 143])
def test_a_signal_that_comes_before_the_command_is_known_reaches_it(signalled, status):
    with pytest.raises(Interrupted, match="^ended by SIGTERM$"):
        signalled(status)


def test_a_command_that_fails_after_a_signal_is_named(signalled):
    """As where a step could not be saved."""
    with pytest.raises(UserError, match="^score of runs/a ended with status 2: once"):
        signalled(2)
