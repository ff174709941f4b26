"""A run of several processes: launched, killed, and resumed by the same command."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.commands import TINY_RUN
from tests.train.loop.test_cluster import free_addresses
from tests.train.runs.kills import read_kills
from train.common import cli

ROOT = Path(__file__).parents[3]
PATIENCE = 300  # seconds until a step that must come has come
STEPS = 40
CHECKPOINT_EVERY = 4
# CLUSTER_KILLS=4 pytest …: so many times a worker is killed, each in turn, soon after the first
# checkpoint of a start. By then it may have saved one more; the last steps are for the end.
MOST_KILLS = STEPS // (2 * CHECKPOINT_EVERY) - 1
KILLS = read_kills("CLUSTER_KILLS", default=3, most=MOST_KILLS)

SMALL = ("tests.train.small_network",)

pytestmark = pytest.mark.slow


def options(run, scenes_root):
    steps = [f"--trainer.steps={STEPS}", f"--trainer.evaluate_every={STEPS // 2}"]
    loss = ["--loss=SoftmaxCrossEntropy", f"--trainer.checkpoint_every={CHECKPOINT_EVERY}"]
    return [f"--run={run}", f"--data.root={scenes_root}", *TINY_RUN, *steps, *loss]


def start(run, scenes_root, *more, network=(), modules=(SMALL, SMALL)):
    """Start the processes of a cluster."""
    addresses = ",".join(free_addresses())
    arguments = [*options(run, scenes_root), *more, f"--cluster={addresses}"]
    commands = [[*arguments, f"--worker={number}"] for number in range(2)]
    return start_all(commands, network, modules)


def start_all(commands, network=(), modules=(SMALL, SMALL)):
    """Start a process of the small network with each of the options."""
    return [
        subprocess.Popen(
            [sys.executable, "-m", *module, *network, "fit", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A job in the background ignores SIGINT, and its children do.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        for module, arguments in zip(modules, commands, strict=False)
    ]


def finish(processes):
    for process in processes:
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, output


def last_step(run):
    """Return the step of the last checkpoint."""
    return max(int(path.stem.removeprefix("ckpt-")) for path in run.glob("checkpoints/*.index"))


def read_starts(run):
    return json.loads((run / "summary.json").read_text())["starts"]


def weights_of(run, step=STEPS):
    reader = tf.train.load_checkpoint(str(run / f"checkpoints/ckpt-{step}"))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def test_a_cluster_trains_as_one_process_with_as_many_devices(scenes_root, tmp_path):
    """The same images at the same steps, and the same scores."""
    few = ["--trainer.steps=6", "--trainer.evaluate_every=3"]
    runs = one, several = tmp_path / "one", tmp_path / "several"
    finish(start_all([[*options(one, scenes_root), *few, "--trainer.replicas=2"]], ["plain"]))
    finish(start(several, scenes_root, *few, network=["plain"]))
    expected, found = (weights_of(run, 6) for run in runs)
    numbers = [name for name, values in expected.items() if np.asarray(values).dtype == np.float32]
    assert len(numbers) >= 8  # weights and momenta of two layers
    for name in numbers:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-6, err_msg=name)
    lines = [map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) for run in runs]
    for theirs, ours in zip(*lines, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, nan_ok=True)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--trainer.seed=7", "does not train what the first one does: .*trainer.seed: 0, now 7"),
        ("--run={tmp_path}/other", "finds no config.yaml in .*/other: run must be a folder that"),
    ],
)
def test_workers_of_other_settings_are_refused(scenes_root, tmp_path, option, message):
    arguments = [*options(tmp_path / "run", scenes_root), "--cluster", ",".join(free_addresses())]
    first, other = ([*arguments, f"--worker={number}"] for number in range(2))
    processes = start_all([first, [*other, option.format(tmp_path=tmp_path)]])
    outputs = [process.communicate(timeout=PATIENCE)[0] for process in processes]
    assert [process.returncode for process in processes] == [2, 2], outputs
    assert re.search(f"error: worker 1 .* {message}", outputs[1]), outputs[1]
    assert not (tmp_path / "run/metrics.jsonl").exists()


@pytest.mark.parametrize("there", [0, 1])
def test_a_worker_that_never_comes_is_named(scenes_root, tmp_path, there):
    addresses = free_addresses()
    cluster = [f"--cluster={','.join(addresses)}", f"--worker={there}", "--cluster_timeout=5"]
    (process,) = start_all([[*options(tmp_path / "run", scenes_root), *cluster]])
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2, output
    (line,) = [line for line in output.splitlines() if "error: " in line]
    assert (
        f"worker {there} ({addresses[there]}): after 5 s not all of the cluster was there" in line
    )
    assert f"no answer from {addresses[1 - there]}: start the same command there" in line
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def never_killed(scenes_root, tmp_path_factory):
    run = tmp_path_factory.mktemp("cluster") / "run"
    finish(start(run, scenes_root))
    return run


def test_a_killed_worker_ends_the_others_and_the_same_command_goes_on(
    never_killed, scenes_root, tmp_path
):
    run, saved = tmp_path / "run", [0]
    for kill in range(KILLS):
        processes = start(run, scenes_root)
        gone, left = (0, 1) if kill % 2 else (1, 0)
        deadline = time.monotonic() + PATIENCE
        while not (run / f"checkpoints/ckpt-{saved[-1] + CHECKPOINT_EVERY}.index").exists():
            assert time.monotonic() < deadline
            assert processes[left].poll() is None
            time.sleep(0.02)
        processes[gone].send_signal(signal.SIGKILL)
        outputs = [process.communicate(timeout=60)[0] for process in processes]
        assert processes[gone].returncode == -signal.SIGKILL, outputs[gone]
        assert processes[left].returncode == 2, outputs[left]
        last = outputs[left].strip().splitlines()[-1]
        lost = rf"worker {gone} \(\S+\) is gone, so worker {left} \(\S+\) stops: "
        remedy = "the same command on all workers goes on from the last checkpoint "
        assert re.match(f"python -m train: error: {lost}{remedy}", last), last
        saved.append(last_step(run))
        assert saved[-1] < STEPS
    finish(start(run, scenes_root))
    assert [start["step"] for start in read_starts(run)] == saved
    assert_equal(run, never_killed)


@pytest.mark.parametrize("stopped", [0, 1])
def test_ctrl_c_at_one_worker_saves_the_step_of_all(never_killed, scenes_root, tmp_path, stopped):
    run = tmp_path / "run"
    processes = start(run, scenes_root)
    deadline = time.monotonic() + PATIENCE
    while not (run / "checkpoints/ckpt-4.index").exists():
        assert time.monotonic() < deadline
        assert all(process.poll() is None for process in processes)
        time.sleep(0.02)
    processes[stopped].send_signal(signal.SIGINT)
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    # The others are ended by what the cluster makes of it.
    statuses = [128 + signal.SIGTERM] * 2
    statuses[stopped] = 128 + signal.SIGINT
    assert [process.returncode for process in processes] == statuses, outputs
    saved = last_step(run)
    assert 4 < saved < STEPS
    resumed = start(run, scenes_root)
    output = resumed[0].communicate(timeout=PATIENCE)[0]
    assert f"step {saved}" in output
    finish(resumed)
    assert_equal(run, never_killed)


def start_with_fault(run, scenes_root, fault, faulty):
    """Start a cluster; something happens to one worker in the first evaluation."""
    modules = [SMALL, SMALL]
    modules[faulty] = "tests.train.runs.faulty_worker", fault
    return start(run, scenes_root, modules=modules)


@pytest.mark.parametrize("stopped", [0, 1])
def test_a_signal_in_an_evaluation_stops_all(never_killed, scenes_root, tmp_path, stopped):
    run = tmp_path / "run"
    processes = start_with_fault(run, scenes_root, "signal", stopped)
    outputs = [process.communicate(timeout=PATIENCE)[0] for process in processes]
    assert [process.returncode for process in processes] == [128 + signal.SIGTERM] * 2, outputs
    assert f"Stopped and saved at step {STEPS // 2}: " in outputs[0]
    assert not (run / "metrics.jsonl").read_text()
    finish(start(run, scenes_root))
    assert_equal(run, never_killed)


@pytest.mark.parametrize(
    ("fault", "faulty", "message"),
    [
        ("memory", 1, r"error: worker 1 \(.*\): the memory does not suffice for the norms of grad"),
        ("exception", 0, "RuntimeError: something nobody thought of"),
    ],
)
def test_what_one_worker_fails_by_ends_the_others(scenes_root, tmp_path, fault, faulty, message):
    processes = start_with_fault(tmp_path / "run", scenes_root, fault, faulty)
    output, _ = processes[faulty].communicate(timeout=PATIENCE)
    began = time.monotonic()
    assert re.search(message, output), output
    other, _ = processes[1 - faulty].communicate(timeout=60)
    print(f"{time.monotonic() - began:.1f} s later")
    assert processes[1 - faulty].returncode == 2
    last = other.strip().splitlines()[-1]
    assert re.search(rf"error: worker {faulty} \(.*\) is gone, so worker {1 - faulty} ", last)


def test_all_workers_say_the_same_of_a_loss_that_is_not_finite(scenes_root, tmp_path):
    """They read it now and then, after the same steps."""
    options = ["--optimizer.learning_rate=1e30", "--trainer.checkpoint_every=1000"]
    processes = start(tmp_path / "run", scenes_root, *options)
    outputs = [process.communicate(timeout=PATIENCE)[0] for process in processes]
    assert [process.returncode for process in processes] == [2, 2], outputs
    first, second = (output.strip().splitlines()[-1] for output in outputs)
    assert first == second
    assert re.search(r"not finite at step \d+; the batch is of ", first)


def assert_equal(run, never_killed):
    """Compare the weights and the logs, bit for bit."""
    expected, found = weights_of(never_killed), weights_of(run)
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
    metrics = [(each / "metrics.jsonl").read_text() for each in (run, never_killed)]
    assert metrics[0] == metrics[1]


@pytest.fixture
def launched(train, monkeypatch, scenes_root, tmp_path):
    """Launch two small workers."""
    monkeypatch.setattr(cli, "MODULE", "tests.train.small_network")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    run = tmp_path / "run"
    return lambda *more: train("launch", "--workers=2", *options(run, scenes_root), *more)


def test_launch_starts_a_cluster_that_equals_one_started_by_hand(
    launched, never_killed, tmp_path, small_networks
):
    """Then, as a run of another configuration, it ends with the worker's own line."""
    outcome = launched()
    assert outcome.status == 0, outcome.err
    assert "on 2 CPUs of 2 workers" in outcome.out
    assert outcome.out.count(f"Last:  step {STEPS}: ") == 1
    lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [STEPS // 2, STEPS]
    assert lines == (never_killed / "metrics.jsonl").read_text().splitlines()
    assert [start["replicas"] for start in read_starts(tmp_path / "run")] == [2]
    checkpoints = shutil.copytree(tmp_path / "run/checkpoints", tmp_path / "before")
    outcome = launched("--schedule.power=2")
    assert outcome.status == 2
    # Before it are notes of TensorFlow's, which the small network imports before `train` does.
    last = outcome.err.strip().splitlines()[-1]
    assert re.match("python -m train: error: worker 0: .* is of another run: .*power: 0.9", last)
    assert outcome.err.count("is of another run") == 1
    assert {path.name for path in checkpoints.iterdir()} == {
        path.name for path in (tmp_path / "run/checkpoints").iterdir()
    }
