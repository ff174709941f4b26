"""`python -m train fit --config RECIPE`: train a model, or resume a run that was stopped."""

from jsonargparse import ArgumentParser, Namespace

from train.runs.configuration import as_yaml, configuration_parser, instantiate
from train.runs.train import train


def parser() -> ArgumentParser:
    """Return the parser of the command."""
    return configuration_parser(description="Train a model, or resume a run that was stopped.")


def run(values: Namespace) -> None:
    """Train the run."""
    train(instantiate(values), as_yaml(values))
