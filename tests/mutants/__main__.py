"""The command line of `tests.mutants`: `make mutants` plants every fault."""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tests.mutants.faults import FAULTS, Fault

ROOT = Path(__file__).parents[2]
COPIED = (
    *("tfsegloss", "models", "train", "savedmodels", "tests"),
    *("Makefile", "setup.cfg", "pyproject.toml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md"),
)
FAST, FULL = "not slow and not full", "not slow"
KERAS_2 = "tests/tfsegloss/keras_2"
# It finds every fault, by the text that is no longer there.
ITSELF = "tests/test_mutants.py"
# A fault may make a loop endless: that too is found.
MOST_SECONDS = 1200
WORKERS = 2


class Outcome(NamedTuple):
    """What a run of tests on a planted fault came to."""

    killed: bool
    by: str  # the test that failed first
    seconds: float


def mirrored(fault: Fault) -> list[str]:
    """Return the tests of a fault's file: its own, those of its folder, the losses' contract."""
    if fault.keras_2:
        return [KERAS_2]
    path = fault.path
    file = ROOT / "tests" / Path(path).with_name(f"test_{Path(path).name}")
    places = [file, file.parent]
    if path.startswith("tfsegloss/"):
        places += [ROOT / "tests/tfsegloss/losses", ROOT / "tests/tfsegloss/contract"]
    return [str(place.relative_to(ROOT)) for place in places if place.exists()]


def copy_project(folder: Path) -> None:
    """Copy what the tests need into a folder."""
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)


def plant(fault: Fault, folder: Path) -> None:
    """Put the fault into a copy of the project.

    Raises:
        ValueError: The fault's text is not there, or there more than once.
    """
    path = folder / fault.path
    text = path.read_text()
    if text.count(fault.old) != 1:
        raise ValueError(f"{fault.path}: {text.count(fault.old)} times, not once: {fault.old!r}")
    path.write_text(text.replace(fault.old, fault.new))


def run_tests(folder: Path, places: Sequence[str], marker: str, *, keras_2: bool) -> Outcome:
    """Run tests in a folder until one fails."""
    options = [
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        marker,
        f"--ignore={ITSELF}",
        "--unhurried",
    ]
    command = [sys.executable, "-m", "pytest", *options, *places]
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1" if keras_2 else "0"}
    start = time.monotonic()
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=MOST_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return Outcome(True, f"no end within {MOST_SECONDS} s", time.monotonic() - start)
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    # 1: a test failed; 2: a file of tests could not be read; below 0: the process crashed.
    killed = done.returncode in (1, 2) or done.returncode < 0
    if not killed and done.returncode != 0:
        raise RuntimeError(f"pytest ended with status {done.returncode}: {done.stdout[-500:]}")
    return Outcome(killed, failed[1] if failed else "", time.monotonic() - start)


def outcome_of(
    fault: Fault | None, marker: str, places: Sequence[str], *, keras_2: bool
) -> Outcome:
    """Plant one fault, or none, and run tests on it."""
    with tempfile.TemporaryDirectory() as folder:
        copy_project(Path(folder))
        if fault:
            plant(fault, Path(folder))
        return run_tests(Path(folder), places, marker, keras_2=keras_2)


def survivors(faults: Sequence[Fault], marker: str, *, everywhere: bool) -> Iterator[Fault]:
    """Plant every fault, say what became of it, and yield those that no test found."""
    with ThreadPoolExecutor(WORKERS) as pool:
        outcomes = pool.map(
            lambda fault: outcome_of(
                fault,
                marker,
                ["tests"] if everywhere and not fault.keras_2 else mirrored(fault),
                keras_2=fault.keras_2,
            ),
            faults,
        )
        for fault, outcome in zip(faults, outcomes, strict=True):
            what = f"killed by {outcome.by}" if outcome.killed else "SURVIVED"
            print(f"{fault.path}: {fault.name}: {what} ({outcome.seconds:.0f} s)", flush=True)
            if not outcome.killed:
                yield fault


def main() -> None:
    """Plant the faults; status 1 if the fast tests miss one, 2 if they fail without any."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=main.__doc__)
    parser.add_argument("--only", default="", help="plant faults with this in path or name")
    only = parser.parse_args().only
    faults = [fault for fault in FAULTS if only in f"{fault.path}: {fault.name}"]
    # What fails without a fault proves nothing.
    for keras_2 in sorted({fault.keras_2 for fault in faults}):
        found = {p for fault in faults if fault.keras_2 == keras_2 for p in mirrored(fault)}
        control = outcome_of(None, FAST, sorted(found), keras_2=keras_2)
        if control.killed:
            print(f"without a fault, {control.by} fails")
            sys.exit(2)
    missed = [*survivors(faults, FAST, everywhere=False)]
    alive = [*survivors(missed, FULL, everywhere=True)] if missed else []
    print(
        f"{len(faults)} faults: {len(faults) - len(missed)} killed by the fast tests, "
        f"{len(missed) - len(alive)} by the full ones alone, {len(alive)} by none"
    )
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
