"""`python -m train launch`: what it passes on, and its mistakes."""

from types import SimpleNamespace

import pytest

from tests.commands import assert_one_line
from train.commands import launch
from train.common.errors import UserError


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


class Ended:
    """A worker that has ended, and its last words."""

    def __init__(self, status, words=""):
        self.process = SimpleNamespace(returncode=status, poll=lambda: status)
        self.failure = lambda: UserError(words)


def test_the_failure_that_ended_the_others_is_said():
    gone = "worker 1 (b:2) is gone, so worker 0 (a:1) stops"
    workers = [Ended(2, gone), Ended(1, "disk full")]
    with pytest.raises(UserError, match="disk full"):
        launch._wait(workers)
    with pytest.raises(UserError, match="is gone, so worker 0"):
        launch._wait([workers[0], Ended(-9, gone)])
    launch._wait([Ended(0), Ended(0)])


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
