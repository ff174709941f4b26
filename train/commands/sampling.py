"""`python -m train sampling RUN --output PICTURE`: how often a run draws each class."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import tfsegloss.explain
from train.commands.explain import check_output
from train.commands.fit import load_config
from train.common.cli import make_parser
from train.common.errors import UserError
from train.data.datasets.registry import find_dataset
from train.data.input.sampling import ComplementaryWeights
from train.runs.data import class_sampling, open_data
from train.runs.folder import CHECKPOINTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def sampling_parser() -> ArgumentParser:
    """The parser of the command."""
    parser = make_parser(
        description="Draw how often crops are centered on each class: uniformly, and as a run "
        "would go on to draw them from its last checkpoint."
    )
    parser.add_argument("run", type=Path, help="Folder of a run whose sampling is by class.")
    suffixes = ", ".join(tfsegloss.explain.SUFFIXES)
    parser.add_argument("--output", type=Path, required=True, help=f"The picture: {suffixes}.")
    return parser


def show_sampling(values: Namespace) -> None:
    """Prints a table and writes the picture.

    Raises:
        UserError: The run draws uniformly, or has no checkpoint where it needs one.
    """
    check_output(values.output)
    config = load_config(values.run)
    options = config.input.sampling
    if options.strategy == "uniform":
        raise UserError(f"{values.run}: input.sampling.strategy is uniform: nothing is by class")
    dataset = find_dataset(config.data.name, config.data.root)
    running = None
    if options.strategy == "complementary":
        running = _restored(values.run, dataset.num_classes)
    data = open_data(dataset, config.data, options)
    pixels = data.found.pixels.sum(axis=0)
    uniform = pixels / pixels.sum()
    drawn = class_sampling(data, options, running).frequencies(uniform)
    Console().print(table(dataset.class_names, uniform, drawn))
    names = ("uniform", options.strategy.replace("_", "-"))
    tfsegloss.explain.save(plot(dataset.class_names, uniform, drawn, names), values.output)
    print(f"Picture: {values.output}")


def _restored(run: Path, num_classes: int) -> ComplementaryWeights:
    """The shares of the run's last checkpoint."""
    latest = tf.train.latest_checkpoint(str(run / CHECKPOINTS))
    if latest is None:
        raise UserError(f"{run} holds no checkpoint yet: no step was saved in {run / CHECKPOINTS}")
    running = ComplementaryWeights(num_classes)
    checkpoint = tf.train.Checkpoint(shares=running.variables)
    checkpoint.restore(latest).assert_existing_objects_matched().expect_partial()
    running.refresh()
    return running


def table(names: Sequence[str], uniform: np.ndarray, drawn: np.ndarray) -> Table:
    """A row per class, the rarest first."""
    sheet = Table(title="crops centered on a class, %")
    sheet.add_column("class")
    for heading in ("uniform", "by class", "times"):
        sheet.add_column(heading, justify="right")
    for i in np.argsort(uniform):
        times = f"{drawn[i] / uniform[i]:.1f}" if uniform[i] else "never"
        sheet.add_row(escape(names[i]), f"{100 * uniform[i]:.2f}", f"{100 * drawn[i]:.2f}", times)
    return sheet


def plot(
    class_names: Sequence[str], uniform: np.ndarray, drawn: np.ndarray, names: Sequence[str]
) -> "Figure":
    """Bars of both frequencies by class, the rarest first.

    Args:
        class_names: Names of the classes.
        uniform: Their frequencies before, float `[C]`.
        drawn: Their frequencies after, float `[C]`.
        names: What the two are called.
    """
    from matplotlib.figure import Figure

    order = np.argsort(uniform)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(order))
    for shift, frequencies, name in zip((-0.2, 0.2), (uniform, drawn), names, strict=True):
        bars = axes.bar(places + shift, 100 * frequencies[order], 0.4, label=name)
        axes.bar_label(bars, fmt="%.2g", fontsize=7)
    axes.set_xticks(places, [class_names[i] for i in order], rotation=30, ha="right")
    axes.set_ylabel("crops centered on the class, %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure
