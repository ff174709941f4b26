"""`python -m train sampling RUN --output PICTURE`: how often a run draws each class."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

import tfsegloss.explain
from train.common.cli import make_parser
from train.common.errors import UserError
from train.data.datasets.registry import find_dataset
from train.reports.sampling import frequency_plot, frequency_table
from train.runs.data import class_sampling, needs_statistics, open_data
from train.runs.explain import check_picture
from train.runs.load import load_config, load_sampling_weights


def parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(
        description="Draw how often crops are centered on each class: uniformly, and as a run "
        "would go on to draw them from its last checkpoint."
    )
    parser.add_argument("run", type=Path, help="Folder of a run whose sampling is by class.")
    suffixes = ", ".join(tfsegloss.explain.SUFFIXES)
    parser.add_argument("--output", type=Path, required=True, help=f"The picture: {suffixes}.")
    return parser


def run(values: Namespace) -> None:
    """Print a table and write the picture.

    Raises:
        UserError: The run draws uniformly, or has no checkpoint where it needs one.
    """
    check_picture(values.output)
    config = load_config(values.run)
    options = config.input.sampling
    if options.strategy == "uniform":
        raise UserError(
            f"{values.run}: input.sampling.strategy is uniform: nothing is by class; "
            "train a run with --input.sampling.strategy class_balanced, or complementary"
        )
    dataset = find_dataset(config.data.name, config.data.root, config.data.unlabelled_as_class)
    sampling_weights = None
    if options.strategy == "complementary":
        sampling_weights = load_sampling_weights(values.run, dataset.num_classes)
    data = open_data(dataset, config.data, needs_statistics(config))
    pixels = data.statistics.pixels.sum(axis=0)
    uniform = pixels / pixels.sum()
    by_class = class_sampling(data, options, sampling_weights).frequencies(uniform)
    Console().print(frequency_table(dataset.class_names, uniform, by_class))
    labels = ("uniform", options.strategy.replace("_", "-"))
    figure = frequency_plot(dataset.class_names, uniform, by_class, labels)
    tfsegloss.explain.save(figure, values.output)
    print(f"Picture: {values.output}")
