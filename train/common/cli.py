"""How the command lines of the project parse, report errors and end."""

import importlib
import os
import signal
import sys
from argparse import Action
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

from jsonargparse import ArgumentError, ArgumentParser, set_parsing_settings

from train.common import signals
from train.common.errors import UserError

MODULE = "train"  # of which command_line runs the commands


def make_parser(**options) -> ArgumentParser:
    """Return a parser that raises its errors instead of printing the usage before them."""
    return ArgumentParser(exit_on_error=False, **options)


def main(package: str, description: str, commands: Sequence[str]) -> None:
    """Run the command that the command line names; the user's mistakes end with status 2.

    Args:
        package: `python -m PACKAGE COMMAND` is what the user typed.
        description: First line of the help.
        commands: Full names of modules, each with `parser()` and `run(values)`. The last part of
            the name is the command's, with hyphens for underscores.
    """
    _Import.modules.clear()
    with quiet_tensorflow():
        modules = {_command(name): importlib.import_module(name) for name in commands}
    parser = make_parser(prog=f"python -m {package}", description=description)
    parser.add_argument(
        "--import",
        action=_Import,
        metavar="MODULE",
        help="Import a module before the command is read, such as one with a loss of your own.",
    )
    subcommands = parser.add_subcommands(metavar="COMMAND")
    for command, module in modules.items():
        subparser = module.parser()
        subcommands.add_subcommand(command, subparser, help=subparser.description)
    try:
        with signals.as_interrupts():
            values = parser.parse_args()
            modules[values.subcommand].run(values[values.subcommand])
    except (UserError, ArgumentError, OSError) as error:
        _fail(f"{error_prefix(package)}{_one_line(error)}", 2)
    except KeyboardInterrupt as error:
        is_known = isinstance(error, signals.Interrupted)
        stop = error if is_known else signals.Interrupted(signal.SIGINT, is_second=False)
        _fail(_one_line(stop), stop.status)


def error_prefix(package: str) -> str:
    """Return how the one line begins that `main` says of an error."""
    return f"python -m {package}: error: "


def command_line(command: str, arguments: Sequence[str]) -> list[str]:
    """Return the words that run a command of `train` in a process of its own.

    Args:
        command: Its name.
        arguments: Its options. What this process was told to import, that one imports too.
    """
    imports = [word for module in _Import.modules for word in ("--import", module)]
    return [sys.executable, "-m", MODULE, *imports, command, *arguments]


class _Import(Action):
    """Imports a module where it stands on the command line, and allows its classes by name."""

    modules: ClassVar[list[str]] = []  # of this command line

    def __call__(self, parser: object, namespace: object, value: str, option: str | None = None):
        """Import the module."""
        try:
            importlib.import_module(value)
        except ImportError as error:
            raise UserError(f"--import {value}: {error}") from None
        set_parsing_settings(import_path_allowlist=[value])
        self.modules.append(value)


def _command(module: str) -> str:
    return module.rpartition(".")[-1].replace("_", "-")


def _one_line(error: BaseException) -> str:
    """Return an error in one line, in which a file's name cannot move the cursor."""
    text = " ".join(str(error).split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _fail(message: str, status: int) -> None:
    print(message, file=sys.stderr)
    sys.exit(status)


@contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Keep TensorFlow's start-up notes out of the output while it is imported.

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
