"""`python -m train score RUN`: the scores of a finished run by image, as a file."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from train.common.cli import make_parser
from train.common.files import check_folder
from train.common.progress import progress_bars
from train.compare.agreement import read_of_run
from train.compare.results import RESULTS, results_path, write_results
from train.compare.score import require_scorable, run_name, score
from train.runs.load import load_config


def parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(
        description="Score the last weights of a finished run on its validation images, and write "
        "what `compare` goes on from: counts by image and class, settings, and what made the run."
    )
    parser.add_argument("run", type=Path, help="Folder of the run.")
    parser.add_argument(
        "--name",
        type=str,
        help="What it is a run of, such as camvid/ce; default: its folder's name without the seed.",
    )
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="Folder of the file NAME-seedN.json."
    )
    return parser


def run(values: Namespace) -> None:
    """Score the run, and write the file.

    Raises:
        UserError: The run is not finished, its data are wrong, or the file cannot be written, or is
            there and of another training.
    """
    require_scorable(values.run)
    name = values.name or run_name(values.run)
    path = results_path(values.results, name, load_config(values.run).trainer.seed)
    check_folder(path.parent, "results")
    if path.exists():
        read_of_run(values.run, path)
    print(f"Scoring {values.run}", flush=True)
    with progress_bars() as progress:
        task = progress.add_task("scoring", total=None)
        results = score(values.run, name, lambda _: progress.advance(task))
    write_results(path, results)
    print(f"Scores: {path}")
