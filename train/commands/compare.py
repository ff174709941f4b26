"""`python -m train compare --recipes A B … --seeds 0 1 2`: what losses are worth."""

import importlib.util
from collections.abc import Collection, Sequence
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

import tfsegloss.explain
from train.common.cli import make_parser
from train.common.errors import UserError
from train.common.files import write_whole
from train.compare import collect, figures, panels, tables
from train.compare.entries import Entry, entries_of
from train.compare.results import RESULTS
from train.compare.score import has_finished, run_name
from train.config import Seed
from train.reports.pictures import save

FIGURES = {"scores.png": figures.score_plot, "gains.png": figures.gain_plot}


def parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(
        description="Compare recipes, or finished runs: mean IoU with its spread over seeds, "
        "boundary IoU, each class, and the interval of the difference to the first. "
        "What is not on file yet is trained and scored, one run after the other; the same command "
        "goes on where it was stopped."
    )
    parser.add_argument(
        "--recipes",
        type=str,
        nargs="+",
        default=[],
        help="Names in train/recipes, like camvid/ce, or files; the others are compared to the "
        "first.",
    )
    parser.add_argument(
        "--runs",
        type=Path,
        nargs="+",
        default=[],
        help="Instead: folders of finished runs, called alike but for -seed0, -seed1 at the end "
        "where they differ in the seed only.",
    )
    parser.add_argument("--seeds", type=Seed, nargs="+", default=[0, 1, 2], help="Of the recipes.")
    parser.add_argument("--data.root", type=Path, help="Of the recipes: folder of their data.")
    parser.add_argument(
        "--results",
        type=Path,
        default=RESULTS,
        help="Folder of the scores of each run by image, a file each, for version control.",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("runs/compare"), help="Folder of the report and runs."
    )
    return parser


def run(values: Namespace) -> None:
    """Train and score what is missing, print the tables, and write the report.

    Raises:
        UserError: There are not two things to compare, or one cannot be compared to the others.
    """
    if values.recipes:
        entries, folders = _of_recipes(values)
    else:
        entries, folders = _of_runs(values)
    values.output.mkdir(parents=True, exist_ok=True)
    report = tables.markdown(entries)
    print(report)
    write_whole(values.output / "comparison.md", report)
    write_whole(values.output / "comparison.csv", tables.as_csv(entries))
    written = ["comparison.md", "comparison.csv", *_pictures(entries, folders, values.output)]
    print("Report: " + ", ".join(str(values.output / name) for name in written))


def _of_recipes(values: Namespace) -> tuple[list[Entry], dict[str, Path]]:
    """Return what is compared, and a folder of a run of each."""
    if values.runs:
        raise UserError("--recipes and --runs are both given: which are compared?")
    recipes = dict(map(collect.find_recipe, values.recipes))
    if len(recipes) < len(values.recipes):
        raise UserError("--recipes: two of them have the same name")
    _require_two(recipes)
    runs = values.output / "runs"
    seeds = [*dict.fromkeys(values.seeds)]
    results = collect.of_recipes(recipes, seeds, values.results, runs, values.data.root)
    return entries_of(results), {
        name: collect.run_folder(runs, name, min(values.seeds)) for name in recipes
    }


def _of_runs(values: Namespace) -> tuple[list[Entry], dict[str, Path]]:
    """Return what is compared, and a folder of a run of each."""
    if not values.runs:
        raise UserError("nothing to compare: give --recipes, or --runs")
    if values.data.root is not None:
        raise UserError("--data.root is of --recipes: runs know where their data are")
    _require_two({run_name(run) for run in values.runs})
    results = collect.of_runs(values.runs, values.results)
    folders: dict[str, Path] = {}
    for run in values.runs:
        folders.setdefault(run_name(run), run)
    return entries_of(results), folders


def _require_two(names: Collection[str]) -> None:
    if len(names) < 2:
        raise UserError("a comparison needs two --recipes, or --runs of two names")


def _pictures(entries: Sequence[Entry], folders: dict[str, Path], output: Path) -> list[str]:
    """Draw the figures, and panels of what runs are here; return the names of the files."""
    written = []
    if importlib.util.find_spec("matplotlib") is None:
        print('No figures: matplotlib is missing: pip install ".[plot]"')
    else:
        for name, draw in FIGURES.items():
            tfsegloss.explain.save(draw(entries), output / name)
            written.append(name)
    here = {name: run for name, run in folders.items() if has_finished(run)}
    missing = ", ".join(name for name in folders if name not in here)
    if missing:
        print(f"Without predictions of {missing}, whose runs are not here")
    try:
        if here:
            save(panels.panels(here, panels.most_different(entries)), output / "panels.png")
            written.append("panels.png")
    except UserError as error:  # the scores need no image
        print(f"Without predictions: {error}")
    return written
