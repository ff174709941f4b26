"""`python -m train launch`: what it passes on, and its mistakes."""

import pytest

from tests.commands import assert_one_line
from train.commands import launch


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
