"""`python -m savedmodels export RUN --output DIR`."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from savedmodels import archive
from train.common.cli import make_parser
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
    """Write the SavedModel of a run."""
    config, dataset, model = load_trained(values.run)
    classes = archive.Classes(
        dataset.name, dataset.class_names, dataset.colors, config.loss.activation
    )
    archive.write(model, config.input.resolution, classes, values.output)
    print(f"SavedModel: {values.output}")
