"""`python -m train explain RUN --output PICTURE`."""

from pathlib import Path

import tensorflow as tf
from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeInt

import tfsegloss.explain
from tfsegloss import SegmentationLoss
from tfsegloss.core.command_line import check_writable, require_matplotlib
from train.commands.fit import load_trained
from train.common.cli import make_parser
from train.common.errors import UserError
from train.data.samples.decode import raise_first_fault, read_all
from train.loop.inference import whole_image_logits


def explain_parser() -> ArgumentParser:
    """The parser of the command."""
    parser = make_parser(
        description="Draw what each loss, with its default options, and the run's own look at in "
        "one prediction of the run's last checkpoint."
    )
    parser.add_argument("run", type=Path, help="Folder of the run.")
    parser.add_argument(
        "--split",
        type=str,
        default="val",
        help="Split of the dataset, such as train or val.",
    )
    parser.add_argument(
        "--index", type=NonNegativeInt, default=0, help="Which image of the split, from 0."
    )
    suffixes = ", ".join(tfsegloss.explain.SUFFIXES)
    parser.add_argument("--output", type=Path, required=True, help=f"The picture: {suffixes}.")
    return parser


def explain(values: Namespace) -> None:
    """Writes the picture.

    Raises:
        UserError: The picture cannot be written or drawn, or there is no such image.
    """
    check_output(values.output)
    config, dataset, model = load_trained(values.run)
    samples = dataset.samples(values.split, config.data.root)
    if values.index >= len(samples):
        raise UserError(
            f"index must be below {len(samples)}, the images of {dataset.name} {values.split}; "
            f"got {values.index}"
        )
    sample = samples.subset([values.index])
    check_output(values.output, Path(sample.image_name(0)), Path(sample.labels_name(0)))
    try:
        image, ids = next(iter(read_all(sample)))
    except tf.errors.OpError:
        raise_first_fault(sample)
        raise
    logits = whole_image_logits(model, image[tf.newaxis], config.input.resolution)
    try:
        figure = tfsegloss.explain.draw(
            _losses(config.loss),
            ids,
            logits,
            image=image.numpy(),
            class_names=dataset.class_names,
            colors=dataset.colors,
        )
        tfsegloss.explain.save(figure, values.output)
    except ValueError as error:
        raise UserError(str(error)) from None
    print(f"{sample.image_name(0)}: {values.output}")


def check_output(path: Path, *inputs: Path) -> None:
    """Refuses a picture that could not be written, before anything is computed."""
    try:
        check_writable(path, tfsegloss.explain.SUFFIXES, others=inputs)
        require_matplotlib()
    except ModuleNotFoundError as error:
        raise UserError(str(error)) from None
    except ValueError as error:
        raise UserError(f"output: {error}") from None


def _losses(own: SegmentationLoss) -> dict[str, SegmentationLoss]:
    """The library's losses, and the run's own if it is none of them, in its state of the start."""
    losses = tfsegloss.explain.losses_by_name()
    if all(_options(own) != _options(loss) for loss in losses.values()):
        losses[f"{type(own).__name__} of the run"] = own
    return losses


def _options(loss: SegmentationLoss) -> tuple[type, dict]:
    """What makes two losses the same; Keras numbers their names."""
    return type(loss), {**loss.get_config(), "name": None}
