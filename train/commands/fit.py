"""`python -m train fit --config RECIPE`: train a model, or resume a run that was stopped."""

from jsonargparse import ArgumentParser, Namespace

from train.runs.configuration import as_yaml, configuration_parser, instantiate
from train.runs.dry_run import dry_run
from train.runs.train import train


def parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = configuration_parser(description="Train a model, or resume a run that was stopped.")
    parser.add_argument(
        "--dry_run",
        "--dry-run",
        action="store_true",
        help="Take three steps on small crops of made-up images, with random first weights (and so "
        "without frozen batch normalization), and keep nothing.",
    )
    return parser


def run(values: Namespace) -> None:
    """Train the run."""
    is_dry = values.pop("dry_run")
    config = instantiate(values)
    if is_dry:
        dry_run(config)
    else:
        train(config, as_yaml(values))
