"""What models, train and savedmodels say under Keras 2."""

import subprocess
import sys

import pytest

from tfsegloss.core.keras_versions import KERAS_VERSION, USES_TF_KERAS

LINE = (
    "`models`, `train` and `savedmodels` need Keras 3; under Keras 2 the library `tfsegloss` runs "
    "alone. Found: "
) + (
    "TF_USE_LEGACY_KERAS is set. Do: unset TF_USE_LEGACY_KERAS"
    if USES_TF_KERAS
    else f'Keras {KERAS_VERSION}. Do: pip install "tensorflow>=2.18" "keras>=3.15"'
)


def python(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "command",
    ["models", "models summary", "train", "train fit --config x.yaml", "savedmodels export"],
)
def test_a_command_ends_with_one_line(command):
    outcome = python("-m", *command.split())
    assert outcome.returncode == 2
    assert outcome.stdout == ""
    assert outcome.stderr.splitlines() == [LINE]


@pytest.mark.parametrize("module", ["models", "train.config", "savedmodels.export"])
def test_an_import_says_the_same(module):
    outcome = python("-c", f"import {module}")
    assert outcome.returncode == 1
    assert outcome.stderr.splitlines()[-1] == f"ImportError: {LINE}"


def test_a_keras_of_another_name_is_left_to_the_imports():
    """Such as keras-nightly, whose package is not called keras."""
    code = """
import importlib.metadata, os
def version(name):
    raise importlib.metadata.PackageNotFoundError(name)
importlib.metadata.version = version
os.environ.pop("TF_USE_LEGACY_KERAS", None)
import train
"""
    outcome = python("-c", code)
    assert (outcome.returncode, outcome.stderr) == (0, "")
