"""A run killed without warning: the same command goes on where the last checkpoint is."""

import json
import math
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.commands import TINY_RUN
from tests.train.runs.kills import read_kills
from train.loop import checkpoints

ROOT = Path(__file__).parents[3]
STEPS = 12
PATIENCE = 300  # seconds until a step that must come has come
# KILLS=20 make test-slow: at so many random moments a run is killed.
KILLS = read_kills("KILLS", default=2)

SMALL = "tests.train.small_network"
AVERAGED = (
    "--loss=SoftmaxCrossEntropy",
    "--trainer.ema_momentum=0.9",
    "--trainer.batch_size=4",
    "--trainer.accumulation=2",
    "--trainer.evaluate_every=3",
)

pytestmark = pytest.mark.slow


def start(scenes_root, run, *more, module="train", largest_file=resource.RLIM_INFINITY):
    def prepare():
        # What is started in the background ignores Ctrl-C.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    command = [sys.executable, "-m", module, "fit", f"--run={run}", f"--data.root={scenes_root}"]
    options = [*TINY_RUN, f"--trainer.steps={STEPS}", "--trainer.evaluate_every=6"]
    return subprocess.Popen(
        [*command, *options, *more],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=prepare,
    )


def last_step(checkpoints):
    """Return the step of the last complete checkpoint, 0 where there is none."""
    steps = [int(path.stem.removeprefix("ckpt-")) for path in checkpoints.glob("ckpt-*.index")]
    return max(steps, default=0)


def kill_after(process, checkpoints, step, seconds=0.0):
    """SIGKILL as soon as the checkpoint of a step is complete, or so many seconds later."""
    deadline = time.monotonic() + PATIENCE
    while last_step(checkpoints) < step:
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    output, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, output


def finish(process):
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    return output


def contents(folder, pattern="**/*"):
    """Return the bytes of files by their paths, and False of folders."""
    return {path: path.is_file() and path.read_bytes() for path in folder.glob(pattern)}


def last_weights(run):
    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(run / "checkpoints")))
    names = sorted(reader.get_variable_to_shape_map())
    return {n: reader.get_tensor(n) for n in names if n.endswith("VARIABLE_VALUE")}


def seconds_between_checkpoints(run):
    """Return how far the last two of a whole run are apart."""
    last, before = checkpoints.steps(run / "checkpoints")[:2]
    times = [(run / f"checkpoints/ckpt-{step}.index").stat().st_mtime for step in (last, before)]
    return times[0] - times[1]


def starts(run):
    """Return the steps that each start of a run went on from."""
    return [start["step"] for start in json.loads((run / "summary.json").read_text())["starts"]]


def logged(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_killed_twice_equals_never_killed(scenes_root, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(start(scenes_root, whole))
    for step in (3, 8):
        kill_after(start(scenes_root, killed), killed / "checkpoints", step)
    output = finish(start(scenes_root, killed))
    resumed = re.search(rf"Resuming {killed} at step (\d+) of {STEPS}\n", output)
    assert int(resumed[1]) >= 8
    expected, actual = last_weights(whole), last_weights(killed)
    assert expected.keys() == actual.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value, err_msg=name)
    assert logged(killed) == logged(whole)


@pytest.mark.parametrize("replicas", [1, 2])
def test_killed_at_random_moments_equals_never_killed(scenes_root, tmp_path, replicas):
    """Of a small network, whose run is short enough to be killed often.

    The moments are between its checkpoints: before the first it begins anew, which goes well even
    where nothing can be resumed.
    """
    options = [*AVERAGED, f"--trainer.replicas={replicas}"]
    whole = tmp_path / "whole"
    finish(start(scenes_root, whole, *options, module=SMALL))
    seconds = seconds_between_checkpoints(whole)
    expected, seen = last_weights(whole), []
    assert any(name.startswith("averages/") for name in expected)
    moments = random.Random(replicas)
    for number in range(KILLS):
        killed = tmp_path / f"killed{number}"
        # The last steps are left out: a run that is not watched for a moment would reach its end.
        share, step = math.modf(moments.uniform(1, STEPS - 2))
        process = start(scenes_root, killed, *options, module=SMALL)
        kill_after(process, killed / "checkpoints", step, share * seconds)
        seen.append(last_step(killed / "checkpoints"))
        assert 0 < seen[-1] < STEPS
        finish(start(scenes_root, killed, *options, module=SMALL))
        assert starts(killed) == [0, seen[-1]]
        actual = last_weights(killed)
        assert expected.keys() == actual.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(actual[name], value, err_msg=name)
        assert logged(killed) == logged(whole)
        assert checkpoints.steps(killed / "checkpoints") == checkpoints.steps(whole / "checkpoints")
    print(f"{KILLS} times killed, with checkpoints of the steps {sorted(seen)}")


def test_deterministic_runs_are_equal(scenes_root, tmp_path):
    options = ["--loss=SoftmaxCrossEntropy", "--trainer.deterministic=true"]
    options += ["--trainer.replicas=2", "--trainer.steps=4"]
    runs = tmp_path / "one", tmp_path / "other"
    for run in runs:
        finish(start(scenes_root, run, *options, module=SMALL))
    one, other = map(last_weights, runs)
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(other[name], value, err_msg=name)
    assert logged(runs[0]) == logged(runs[1])


def test_a_full_disk_is_one_line_and_leaves_the_older_checkpoint(scenes_root, tmp_path):
    """Full for a checkpoint; the same command goes on where there is room again."""
    run = tmp_path / "run"
    kill_after(start(scenes_root, run, *AVERAGED, module=SMALL), run / "checkpoints", 1)
    before = contents(run / "checkpoints", "ckpt-*")
    process = start(scenes_root, run, *AVERAGED, module=SMALL, largest_file=8000)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2, output
    line = output.splitlines()[-1]
    assert re.search(r"error: \S*/ckpt-\d+ cannot be written: .*File too large", line)
    assert contents(run / "checkpoints", "ckpt-*") == before
    finish(start(scenes_root, run, *AVERAGED, module=SMALL))
    assert last_step(run / "checkpoints") == STEPS


def test_another_configuration_does_not_touch_the_run(scenes_root, tmp_path):
    run = tmp_path / "run"
    kill_after(start(scenes_root, run), run / "checkpoints", 1)
    before = contents(run)
    command = [sys.executable, "-m", "train", "fit", f"--run={run}", f"--data.root={scenes_root}"]
    outcome = subprocess.run(
        [*command, *TINY_RUN], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 2
    (line,) = outcome.stderr.splitlines()
    assert line.startswith("python -m train: error: ")
    assert f"trainer.steps: {STEPS}, now 4" in line
    assert contents(run) == before


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_signals_save_and_a_second_process_is_refused(scenes_root, tmp_path, number, status):
    run = tmp_path / "run"
    first = start(scenes_root, run, "--trainer.checkpoint_every=1000", "--trainer.steps=1000")
    deadline = time.monotonic() + PATIENCE
    while "Training" not in (line := first.stdout.readline()):
        assert line, first.wait()
        assert time.monotonic() < deadline
    second = start(scenes_root, run, "--trainer.checkpoint_every=1000", "--trainer.steps=1000")
    output, _ = second.communicate(timeout=PATIENCE)
    assert second.returncode == 2
    assert f"{run} is being trained by another process" in output
    first.send_signal(number)
    output, _ = first.communicate(timeout=PATIENCE)
    assert first.returncode == status
    step = int(re.search(r"Stopped and saved at step (\d+): the same command goes on", output)[1])
    assert step == last_step(run / "checkpoints")


@pytest.mark.skipif(not shutil.which("nvidia-smi"), reason="needs an NVIDIA GPU")
def test_the_gpu_trains(scenes_root, tmp_path):
    command = [sys.executable, "-m", "train", "fit", f"--run={tmp_path}/run", *TINY_RUN]
    environment = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    outcome = subprocess.run(
        [*command, f"--data.root={scenes_root}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert re.search(r"Training .* on \d+ GPU", outcome.stdout)


def test_two_replicas_train_and_resume(scenes_root, tmp_path):
    for expected in ("step 4/4: loss", f"{tmp_path}/run is finished: 4 steps"):
        command = [sys.executable, "-m", "train", "fit", f"--run={tmp_path}/run", *TINY_RUN]
        outcome = subprocess.run(
            [*command, f"--data.root={scenes_root}", "--trainer.replicas=2"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert outcome.returncode == 0, outcome.stderr
        assert expected in outcome.stdout
    assert [line["step"] for line in logged(tmp_path / "run")] == [2, 4]
