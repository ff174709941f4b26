"""Runs the benchmark's command line inside the test's process."""

from tests.commands import Outcome
from tfsegloss.benchmark import __main__ as program


def run(capfd, *arguments):
    capfd.readouterr()
    status = 0
    try:
        program.main([*map(str, arguments)])
    except SystemExit as stop:
        status = stop.code or 0
    return Outcome(status, *capfd.readouterr())
