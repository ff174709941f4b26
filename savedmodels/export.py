"""`python -m savedmodels export RUN --output DIR`."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from savedmodels import archive
from train.common.cli import make_parser
from train.common.errors import UserError
from train.runs.load import load_trained


def parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(description="Write a run's last checkpoint as a SavedModel.")
    parser.add_argument("run", type=Path, help="Folder of the run.")
    parser.add_argument(
        "--output", type=Path, required=True, help="Folder of the SavedModel; must not exist."
    )
    return parser


def run(values: Namespace) -> None:
    """Write the SavedModel of a run.

    Raises:
        UserError: The folder is none of a run, or its losses have no common activation.
    """
    config, dataset, model = load_trained(values.run)
    try:
        activation = config.loss.activation
    except ValueError as error:  # of a sum of losses that have none in common
        raise UserError(f"loss: {error}") from None
    classes = archive.Classes(dataset.name, dataset.class_names, dataset.colors, activation)
    archive.write(model, config.input.resolution, classes, values.output)
    print(f"SavedModel: {values.output}")
