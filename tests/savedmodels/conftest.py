"""A run's network as a SavedModel, and the command line."""

import pytest

from savedmodels import export
from tests import commands
from tests.train.small_network import small_networks


@pytest.fixture(scope="session")
def exported(trained_run, tmp_path_factory):
    """Return the SavedModel of a run, in a folder that has no other."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    with small_networks():
        export.run(export.parser().parse_args([str(trained_run), f"--output={folder}"]))
    return folder


@pytest.fixture
def savedmodels(monkeypatch, capfd):
    """Run a command."""
    return lambda *arguments: commands.command(monkeypatch, capfd, "savedmodels", *arguments)
