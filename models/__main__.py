"""`python -m models COMMAND`."""

from collections.abc import Sequence

from models.commands.import_checkpoint import import_parser, import_weights
from models.commands.parsing import Command, run_command
from models.commands.summary import summarize, summary_parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command.

    Args:
        arguments: Of the command line; None: those of this process.
    """
    commands = {
        "summary": Command(summary_parser(), summarize),
        "import-checkpoint": Command(import_parser(), import_weights),
    }
    run_command("Segmentation networks.", commands, arguments)


if __name__ == "__main__":
    main()
