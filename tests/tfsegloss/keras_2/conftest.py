"""What differs between the environments of Keras 2."""

import os
import subprocess

import pytest

from tfsegloss.core.keras_versions import IS_KERAS_2

# With Keras 3 the tests of Keras 2 are none of `make test`: they run by `make test-addons` and
# `make test-legacy`.
OF_KERAS_2 = ["test_addons.py", "test_files.py", "test_fit.py", "test_keras_3_needed.py"]
collect_ignore = [] if IS_KERAS_2 else OF_KERAS_2


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
