"""`python -m train check --data.name NAME --data.root ROOT`: is this data what it should be?"""

import sys
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from train.common.cli import make_parser
from train.common.errors import SeveralFaultsError
from train.common.files import check_output
from train.config import DataConfig
from train.data.datasets.problems import ReadSplit, find_problems
from train.data.datasets.registry import find_dataset
from train.data.samples.statistics import collect_statistics
from train.reports.dataset import class_table, draw_sheet, facts


def parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(
        description="Read every file of a dataset's two splits; print what they hold, and "
        "everything that is wrong: files that cannot be decoded, unknown ids and colors, label "
        "maps of another size than their image or without any label, classes that are missing, "
        "images that are there twice, unexpected numbers of samples. Draw labels over images. Exit "
        "status 1 if something is wrong."
    )
    # Everything is verified here, and no fault stops the command.
    parser.add_class_arguments(DataConfig, "data", skip={"verify", "on_error"})
    parser.add_argument(
        "--output",
        type=Path | None,
        default=None,
        help="The picture, a PNG; default: `runs/check/NAME.png`.",
    )
    return parser


def run(values: Namespace) -> None:
    """Print the report, draw the sheet, and end with status 1 if something is wrong.

    Raises:
        UserError: The dataset cannot be listed, or the picture not be written.
    """
    options = values.data
    dataset = find_dataset(options.name, options.root, options.unlabelled_as_class)
    output = values.output or Path("runs/check") / f"{dataset.name}.png"
    if values.output is None:
        output.parent.mkdir(parents=True, exist_ok=True)
    check_output(output, (".png",))
    splits, problems = [], []
    for name in dict.fromkeys([options.train_split, options.val_split]):
        try:
            samples = dataset.samples(name, options.root)
        except SeveralFaultsError as error:
            problems += error.faults
            continue
        statistics = collect_statistics(samples, dataset.num_classes, f"reading {name}")
        splits.append(ReadSplit(name, samples, statistics))
    console = Console()
    if splits:
        console.print(class_table(splits, dataset))
    for split in splits:
        line = f"{split.name}: {'; '.join(facts(split, dataset))}"
        console.print(line, soft_wrap=True, markup=False)
    if draw_sheet(splits, dataset, output):
        console.print(f"Labels over images: {output}", soft_wrap=True, markup=False)
    problems += find_problems(splits, dataset, options.train_split)
    for problem in problems:
        console.print(f"wrong: {problem}", soft_wrap=True, markup=False, highlight=False)
    if problems:
        sys.exit(1)
    console.print("Nothing is wrong.")
