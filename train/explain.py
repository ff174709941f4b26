"""`python -m train explain RUN --output PICTURE`."""

from pathlib import Path

import tensorflow as tf
from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeInt

import tfsegloss.explain
from train.command_line import make_parser
from train.errors import UserError
from train.fit import load_trained
from train.inference import whole_image_logits
from train.reading import name_fault, read_all


def explain_parser() -> ArgumentParser:
    """The parser of the command."""
    parser = make_parser(
        description="Draw what each loss looks at in one prediction of a run's last checkpoint."
    )
    parser.add_argument("run", type=Path, help="Folder of the run.")
    parser.add_argument("--split", type=str, default="val", help="Which split.")
    parser.add_argument("--index", type=NonNegativeInt, default=0, help="Which image of it.")
    parser.add_argument("--output", type=Path, required=True, help="The picture: .png, .jpg, ….")
    return parser


def explain(values: Namespace) -> None:
    """Writes the picture.

    Raises:
        UserError: There is no such image, the picture's format is unknown, or matplotlib missing.
    """
    config, dataset, model = load_trained(values.run)
    samples = dataset.samples(values.split, config.data.root)
    if values.index >= len(samples):
        raise UserError(
            f"index must be below {len(samples)}, the images of {dataset.name} {values.split}; "
            f"got {values.index}"
        )
    sample = samples[values.index : values.index + 1]
    try:
        image, ids = next(iter(read_all(sample, dataset)))
    except tf.errors.OpError:
        name_fault(sample, dataset)
        raise
    logits = whole_image_logits(model, image[tf.newaxis], config.input.resolution)
    try:
        figure = tfsegloss.explain.draw(
            tfsegloss.explain.losses_by_name(),
            ids,
            logits,
            image=image.numpy(),
            classes=dataset.class_names,
            colours=dataset.colours,
        )
        tfsegloss.explain.save(figure, values.output)
    except (ValueError, ModuleNotFoundError) as error:
        raise UserError(str(error)) from None
    print(f"{sample[0].image}: {values.output}")
