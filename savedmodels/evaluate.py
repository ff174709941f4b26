"""`python -m savedmodels evaluate DIR --data.name NAME --split SPLIT --output REPORT`."""

import json
from pathlib import Path
from typing import Literal

import numpy as np
from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from savedmodels.archive import Classes, SavedSegmenter
from train.common.cli import make_parser
from train.common.errors import UserError
from train.common.files import write_whole
from train.common.progress import progress_bars
from train.data.datasets.dataset import UNLABELLED, Dataset
from train.data.datasets.registry import NAMES, find_dataset
from train.loop.evaluation import evaluate
from train.reports.pictures import contact_sheet, save
from train.reports.scores import scores_table

SHEET_ROWS = 6


def parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(description="Score a SavedModel at the labels' size.")
    parser.add_argument("model", type=Path, help="Folder of the SavedModel.")
    names = Literal[NAMES]
    parser.add_argument(
        "--data.name", type=names, help="Which dataset; default: the one it was trained on."
    )
    parser.add_argument(
        "--data.root", type=Path, help="Its folder; default: that of the training, or data/NAME."
    )
    parser.add_argument("--split", type=str, default="val", help="Which split.")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="Folder of the report: metrics.json, contact_sheet.png.",
    )
    return parser


def run(values: Namespace) -> None:
    """Score a SavedModel, print the table and write the report."""
    segmenter = SavedSegmenter(values.model)
    root = _root(values.data, segmenter.classes)
    dataset = _dataset(values.data.name or segmenter.classes.dataset, root, segmenter.classes)
    segmenter.classes.require_those_of(dataset)
    samples = dataset.samples(values.split, root)
    if values.output.exists() and not values.output.is_dir():
        raise UserError(f"--output must be a folder; {values.output} is a file")
    shown = set(np.linspace(0, len(samples) - 1, SHEET_ROWS).astype(int).tolist())
    rows = []
    with progress_bars() as progress:
        task = progress.add_task("evaluating", total=len(samples))

        def observe(number: int, *sample: np.ndarray) -> None:
            progress.advance(task)
            if number in shown:
                rows.append(sample)

        scores = evaluate(segmenter.classify, samples, dataset, observe)
    Console().print(scores_table(scores, f"{values.model} on {dataset.name} {values.split}"))
    values.output.mkdir(parents=True, exist_ok=True)
    what = {"model": str(values.model), "dataset": dataset.name, "split": values.split}
    metrics = json.dumps({**what, **scores.as_json()}, indent=1)
    write_whole(values.output / "metrics.json", metrics + "\n")
    sheet = contact_sheet(rows, dataset.class_names, dataset.colors)
    save(sheet, values.output / "contact_sheet.png")
    print(f"Report: {values.output}/metrics.json, {values.output}/contact_sheet.png")


def _root(data: Namespace, classes: Classes) -> Path | None:
    """Return the dataset's folder: the option, else that of the training, if it is that dataset."""
    if data.root is None and classes.data_root and data.name in (None, classes.dataset):
        return Path(classes.data_root)
    return data.root


def _dataset(name: str, root: Path | None, classes: Classes) -> Dataset:
    """Return the dataset, with unlabelled pixels as a class where the model has learnt one."""
    dataset = find_dataset(name, root)
    if classes.class_names == (*dataset.class_names, UNLABELLED):
        return dataset.with_unlabelled_class()
    return dataset
