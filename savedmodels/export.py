"""`python -m savedmodels export RUN --output DIR`."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import OpenUnitInterval, PositiveInt

from savedmodels import archive
from train.common.cli import make_parser
from train.common.errors import UserError
from train.runs.load import best_step, load_trained


def parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(description="Write a checkpoint of a run, the last one, as a SavedModel.")
    parser.add_argument("run", type=Path, help="Folder of the run.")
    parser.add_argument(
        "--output", type=Path, required=True, help="Folder of the SavedModel; must not exist."
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--best",
        action="store_true",
        help="Take the checkpoint of the best score.",
    )
    which.add_argument("--step", type=PositiveInt, help="Take the checkpoint of this step.")
    parser.add_argument(
        "--raw",
        action="store_true",
        help="Take the weights of the step; default: their averages, where the run has them.",
    )
    parser.add_argument(
        "--threshold",
        type=OpenUnitInterval,
        help="Probability above which a pixel is foreground, for one class; default 0.5.",
    )
    return parser


def run(values: Namespace) -> None:
    """Write the SavedModel of a run.

    Raises:
        UserError: The folder is none of a run, its losses have no common activation, or an option
            does not fit it.
    """
    step = best_step(values.run) if values.best else values.step
    config, dataset, model = load_trained(values.run, step, raw=values.raw)
    try:
        activation = config.loss.activation
    except ValueError as error:  # of a sum of losses that have none in common
        raise UserError(f"loss: {error}") from None
    if values.threshold is not None and not dataset.is_binary:
        raise UserError(
            f"--threshold is for one class; of the {dataset.num_classes} of {dataset.name} the "
            "most likely is taken"
        )
    momentum = config.trainer.ema_momentum
    if values.raw and momentum is None:
        raise UserError(
            f"--raw is for a run whose weights are averaged; those of {values.run} are not"
        )
    threshold = (values.threshold or 0.5) if dataset.is_binary else None
    root = config.data.root and str(config.data.root)
    classes = archive.Classes(
        dataset.name,
        dataset.class_names,
        dataset.colors,
        activation,
        threshold,
        root,
        averaged=momentum is not None and not values.raw,
    )
    archive.write(model, config.input.resolution, classes, values.output)
    if classes.averaged:
        print(f"Weights: their averages (trainer.ema_momentum {momentum:g})")
    elif values.raw:
        print("Weights: those of the step, not their averages")
    print(f"SavedModel: {values.output}")
