"""What of the library's tests runs under Keras 2: all that is not left out with a reason."""

import subprocess
from pathlib import Path

from tests.keras_versions import LEFT_OUT

ROOT = Path(__file__).parents[3]


def modules(paths):
    """All modules of tests that files and folders hold."""
    found = set()
    for path in paths:
        assert path.exists(), path
        found |= {*path.rglob("test_*.py")} if path.is_dir() else {path}
    return found


def test_every_module_runs_or_is_left_out():
    command = ["make", "--no-print-directory", "keras-2-tests"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    run = modules(ROOT / path for path in listed.split())
    folder = ROOT / "tests" / "tfsegloss"
    left_out = modules(folder / path for path in LEFT_OUT)
    assert run.isdisjoint(left_out)
    assert run | left_out == modules([folder])
