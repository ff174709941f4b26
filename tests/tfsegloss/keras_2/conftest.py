"""What differs between the environments of Keras 2."""

import importlib.util
import os
import subprocess

import pytest

from tfsegloss.core.keras_versions import IS_KERAS_2

HAS_ADDONS = importlib.util.find_spec("tensorflow_addons") is not None
# With Keras 3 the tests of Keras 2 are none of `make test`: they run by `make test-addons` and
# `make test-legacy`. TensorFlow Addons imports beside TensorFlow 2.15 alone.
collect_ignore = [] if IS_KERAS_2 else ["test_files.py", "test_fit.py"]
if not (IS_KERAS_2 and HAS_ADDONS):
    collect_ignore.append("test_addons.py")


@pytest.fixture(scope="session")
def with_keras_3(request):
    """Run Python code where TensorFlow's Keras is 3, in this clone; return what it prints."""
    python = request.config.getoption("--keras-3-python")

    def run(code, *arguments):
        environment = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
        outcome = subprocess.run(
            [python, "-c", code, *map(str, arguments)],
            cwd=request.config.rootpath,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert outcome.returncode == 0, outcome.stderr
        return outcome.stdout

    return run
