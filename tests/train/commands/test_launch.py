"""`python -m train launch`: what it passes on, and its mistakes."""

import os
import signal
import subprocess
import time
from contextlib import ExitStack

import pytest

from tests.commands import assert_one_line
from train.commands import launch
from train.common.errors import UserError
from train.common.signals import Interrupted


@pytest.mark.parametrize(
    "arguments", [["--workers", "3", "--run", "a"], ["--run", "a", "--workers=3"]]
)
def test_the_workers_get_the_options_of_fit(arguments):
    assert launch._without_workers(arguments) == ["--run", "a"]


def test_ports_are_free_and_differ():
    addresses = launch._free_addresses(3)
    assert len(set(addresses)) == 3
    assert all(address.startswith("localhost:") for address in addresses)


@pytest.mark.parametrize(
    ("gpus", "workers", "visible", "shares"),
    [
        (2, 2, None, ["0", "1"]),
        (4, 2, None, ["0,1", "2,3"]),
        (2, 2, "5,GPU-8932", ["5", "GPU-8932"]),
        (2, 1, "2,3", ["2,3"]),
        (0, 2, "-1", [None, None]),
        (0, 2, None, [None, None]),
    ],
)
def test_each_worker_has_gpus_of_its_own(gpus, workers, visible, shares):
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    found = launch.share_gpus(gpus, workers, environment)
    assert [share.get("CUDA_VISIBLE_DEVICES") for share in found] == shares


@pytest.mark.parametrize(("gpus", "workers"), [(1, 2), (3, 2), (2, 4)])
def test_fewer_gpus_than_workers_is_one_line(train, monkeypatch, gpus, workers):
    monkeypatch.setattr(launch.tf.config, "list_physical_devices", lambda kind: [kind] * gpus)
    outcome = train("launch", f"--workers={workers}")
    assert_one_line(outcome, f"divide the {gpus} GPUs", "CUDA_VISIBLE_DEVICES=-1 the CPU")


GONE = "python -m train: error: worker 1 (b:2) is gone, so worker 0 (a:1) stops: the same command"
FULL = "python -m train: error: disk full"


def say(words, *, then):
    """Return a script that says something on standard error, and then goes on."""
    return f"echo '{words}' >&2; {then}"


def at_sigterm(script):
    """Return one that waits for SIGTERM, and says when it does."""
    return f'trap "{script}" TERM; echo ready >&2; while :; do sleep 0.02; done'


@pytest.fixture
def start(tmp_path):
    """Start scripts in the place of workers."""
    with ExitStack() as stack:

        def worker(number, script):
            errors = stack.enter_context((tmp_path / f"{number}").open("w+b"))
            process = subprocess.Popen(["sh", "-c", script], stderr=errors)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return launch._Process(number, process, errors)

        yield lambda *scripts: [worker(*each) for each in enumerate(scripts)]


def test_the_failure_that_ended_the_others_is_said(start):
    launch._wait(start("exit 0", "exit 0"))
    workers = start(say(GONE, then="exit 2"), say(FULL, then="exit 2"))
    with pytest.raises(UserError, match="^worker 1: disk full$"):
        launch._wait(workers)


@pytest.mark.parametrize("status", ["exit 143", "kill -TERM $$"])
def test_who_stops_for_another_s_signal_is_no_cause(start, status):
    words = "another worker was told to stop, so worker 0 (a:1) stops"
    workers = start(say(words, then="exit 143"), status)
    with pytest.raises(UserError, match="^worker 1 was (ended|killed) by SIGTERM$"):
        launch._wait(workers)


def test_what_killed_a_worker_is_said(start):
    workers = start(say(GONE, then="exit 2"), say("some note", then="kill -KILL $$"))
    with pytest.raises(UserError, match="^worker 1 was killed by SIGKILL, as when memory runs out"):
        launch._wait(workers)


def test_what_a_worker_says_before_it_breaks_down_is_passed_on(start, capsys):
    workers = start("exit 0", say("Traceback", then=say("RuntimeError: odd", then="exit 1")))
    with pytest.raises(UserError, match="^worker 1 ended with status 1: what it said is above$"):
        launch._wait(workers)
    assert capsys.readouterr().err == "Traceback\nRuntimeError: odd\n"


def test_what_the_first_worker_says_is_passed_on_while_it_runs(start, capsys):
    """But its error, which is said once."""
    script = say("a warning", then=say(FULL, then="printf half >&2; exec sleep 60"))
    (worker,) = start(script)
    while b"half" not in worker._said_after(0):
        time.sleep(0.01)
    for _ in range(2):
        worker.pass_on()
    assert capsys.readouterr().err == "a warning\n"
    worker.process.kill()
    worker.process.wait()
    worker.pass_on()
    assert capsys.readouterr().err == "half"


def stop(workers):
    """Wait for the workers, and let a signal come when they are ready."""

    def pass_on():
        if all(b"ready" in worker._said_after(0) for worker in workers):
            raise Interrupted(signal.SIGTERM, is_second=False)

    workers[0].pass_on = pass_on
    launch._wait(workers)


def test_a_signal_reaches_the_workers_and_says_that_they_stop(start, capfd):
    """One may find another gone that has ended a little earlier."""
    workers = start(at_sigterm("exit 143"), at_sigterm(say(GONE, then="exit 2")))
    with pytest.raises(Interrupted):
        stop(workers)
    assert "Stopping after this step; once more to stop at once" in capfd.readouterr().err
    assert [worker.process.returncode for worker in workers] == [143, 2]


def test_a_save_that_fails_after_a_signal_is_said(start):
    workers = start(at_sigterm("exit 143"), at_sigterm(say(FULL, then="exit 2")))
    with pytest.raises(UserError, match="^worker 1: disk full$"):
        stop(workers)


def test_who_does_not_end_after_a_signal_is_killed_and_named(start, monkeypatch):
    monkeypatch.setattr(launch, "SECONDS_TO_END", 3.0)
    workers = start(at_sigterm(say(FULL, then="exit 2")), at_sigterm(":"))
    message = "^worker 0: disk full; worker 1 had not ended after 3 s and was killed$"
    with pytest.raises(UserError, match=message):
        stop(workers)


@pytest.mark.parametrize("count", [1, 2])  # the second one does not wait
def test_a_signal_while_workers_are_started_leaves_none_alone(train, monkeypatch, count):
    started, popen = [], subprocess.Popen

    def start(command, **options):
        if "fit" not in command:  # the parser starts one of its own, once
            return popen(command, **options)
        started.append(popen(["sleep", "60"], **options))
        for _ in range(count if len(started) == 1 else 0):
            os.kill(os.getpid(), signal.SIGTERM)
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    outcome = train("launch", "--loss=SoftmaxCrossEntropy")
    assert (outcome.status, len(started)) == (143, 2)
    assert [process.returncode for process in started] == [-signal.SIGKILL] * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers=0"], "workers"),
        (["--loss=NoSuchLoss"], "NoSuchLoss"),
        (["--trainer.keep_at=[1000]"], "trainer.keep_at must be steps up to trainer.steps"),
    ],
)
def test_mistakes_are_said_once_before_anything_is_started(train, options, message, tmp_path):
    assert_one_line(train("launch", *options), message)
    assert not (tmp_path / "runs").exists()
