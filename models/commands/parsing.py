"""How the commands parse their options, report mistakes and end."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace


class Command(NamedTuple):
    """A subcommand.

    Attributes:
        parser: Of its options.
        run: Takes the parsed options, returns the text to print.
    """

    parser: "ArgumentParser"
    run: "Callable[[Namespace], str]"


def make_parser(**options: str) -> "ArgumentParser":
    """Return a parser that raises its errors instead of printing the usage before them."""
    import jsonargparse  # imported here so that building a network does not need it

    return jsonargparse.ArgumentParser(exit_on_error=False, **options)


def run_command(
    description: str, commands: Mapping[str, Command], arguments: Sequence[str] | None = None
) -> None:
    """Run a subcommand; the user's mistakes end with one line and status 2.

    Args:
        description: First line of the help.
        commands: By name.
        arguments: Of the command line; None: those of this process.
    """
    from jsonargparse import ArgumentError

    parser = make_parser(prog="python -m models", description=description)
    subcommands = parser.add_subcommands(metavar="COMMAND")
    for name, command in commands.items():
        subcommands.add_subcommand(name, command.parser, help=command.parser.description)
    try:
        options = parser.parse_args(arguments)
        with _quiet_tensorflow():
            text = commands[options.subcommand].run(options[options.subcommand])
    except (ArgumentError, ValueError, OSError, ModuleNotFoundError) as error:
        _end(f"python -m models: error: {' '.join(str(error).split())}", 2)
    except KeyboardInterrupt:
        _end("interrupted", 130)
    print(text)


def _end(message: str, status: int) -> None:
    print(message, file=sys.stderr)
    sys.exit(status)


@contextlib.contextmanager
def _quiet_tensorflow() -> Iterator[None]:
    """Keep out of the output what TensorFlow's C++ part writes straight to file descriptor 2."""
    sys.stderr.flush()
    standard_error, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)
        os.close(nowhere)
