"""`python -m train recipes`: the rows of the papers' tables, and the recipe of each."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml
from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.table import Table

from train.common.cli import make_parser
from train.common.errors import UserError

FOLDER = Path(__file__).parents[1] / "recipes"


class Row(NamedTuple):
    """A row of a paper's table."""

    recipe: str
    table: str
    row: str
    mean_iou: float | None  # percent; None: of a first stage, which has none
    differs: str


def parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(
        description="List the recipes of the papers' tables with the papers' scores. One trains by "
        "`python -m train fit --config train/recipes/RECIPE.yaml`; RMI's and SSL's begin with "
        "weights that `python -m models import-checkpoint` makes first, as their bases say."
    )
    parser.add_argument(
        "text", nargs="?", default="", help="Only recipes with this in their name or table."
    )
    parser.add_argument(
        "--differs", action="store_true", help="Say what is not as it was in the paper."
    )
    return parser


def run(values: Namespace) -> None:
    """Print the table.

    Raises:
        UserError: No recipe has the text.
    """
    text = values.text.lower()
    rows = [row for row in read_rows() if text in f"{row.recipe} {row.table}".lower()]
    if not rows:
        raise UserError(f"no recipe with {values.text!r} in its name or table")
    table = Table("recipe", "table", "row", "mean IoU %", box=None)
    if values.differs:
        table.add_column("differs")
    for row in rows:
        score = "" if row.mean_iou is None else f"{row.mean_iou:.2f}"
        table.add_row(row.recipe, row.table, row.row, score, *[row.differs] * values.differs)
    Console(highlight=False, soft_wrap=True).print(table)


def read_rows() -> Iterator[Row]:
    """Yield the rows of all recipes that are a paper's, in the order of their names.

    A recipe has several where the paper scores its run more than once.
    """
    for path in sorted(FOLDER.glob("*/*.yaml")):
        paper = yaml.safe_load(path.read_text()).get("paper")
        if paper:
            name = str(path.relative_to(FOLDER).with_suffix(""))
            for place in (paper, *paper.get("also", ())):
                scored = (place["table"], place["row"], place["mean_iou"])
                yield Row(name, *scored, paper.get("differs", ""))
