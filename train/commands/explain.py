"""`python -m train explain RUN --output PICTURE`: what the losses look at in a prediction."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeInt

import tfsegloss.explain
from train.common.cli import make_parser
from train.runs.explain import draw_losses


def parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(
        description="Draw what each loss, with its default options, and the run's own look at in "
        "one prediction of the run's last checkpoint."
    )
    parser.add_argument("run", type=Path, help="Folder of the run.")
    parser.add_argument(
        "--split",
        type=str,
        default="val",
        help="Split of the dataset, such as train or val.",
    )
    parser.add_argument(
        "--index", type=NonNegativeInt, default=0, help="Which image of the split, from 0."
    )
    suffixes = ", ".join(tfsegloss.explain.SUFFIXES)
    parser.add_argument("--output", type=Path, required=True, help=f"The picture: {suffixes}.")
    return parser


def run(values: Namespace) -> None:
    """Write the picture."""
    name = draw_losses(values.run, values.split, values.index, values.output)
    print(f"{name}: {values.output}")
