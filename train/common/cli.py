"""How the command lines of the project parse, report errors and end."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from train.common.errors import UserError


def make_parser(**options) -> ArgumentParser:
    """A parser that raises its errors instead of printing the usage before them."""
    return ArgumentParser(exit_on_error=False, **options)


class Command:
    """One subcommand: its parser and what it does with the parsed values."""

    def __init__(self, parser: ArgumentParser, run: Callable[[Namespace], None]):
        self.parser = parser
        self.run = run


def main(program: str, description: str, commands: Mapping[str, Command]) -> None:
    """Runs a subcommand of `python -m program`; the user's mistakes end with status 2.

    Args:
        program: Name of the package.
        description: First line of the help.
        commands: By name.
    """
    parser = make_parser(prog=f"python -m {program}", description=description)
    subcommands = parser.add_subcommands(metavar="COMMAND")
    for name, command in commands.items():
        subcommands.add_subcommand(name, command.parser, help=command.parser.description)
    try:
        values = parser.parse_args()
        commands[values.subcommand].run(values[values.subcommand])
    except (UserError, ArgumentError, OSError) as error:
        _fail(f"python -m {program}: error: {_one_line(error)}", 2)
    except KeyboardInterrupt:
        _fail("interrupted", 130)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _fail(message: str, status: int) -> None:
    print(message, file=sys.stderr)
    sys.exit(status)


@contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Keeps TensorFlow's start-up notes out of the output while it is imported.

    What its C++ part says before its logging has started goes to file descriptor 2 whatever
    TF_CPP_MIN_LOG_LEVEL is.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    standard_error, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)
        os.close(nowhere)
