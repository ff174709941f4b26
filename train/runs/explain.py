"""What losses look at in a prediction of a run."""

from pathlib import Path

import tensorflow as tf

import tfsegloss.explain
from tfsegloss import SegmentationLoss
from tfsegloss.core.command_line import require_matplotlib
from train.common.errors import UserError
from train.common.files import check_output
from train.data.samples.decode import raise_first_fault, read_all
from train.data.samples.samples import Samples
from train.loop.inference import whole_image_logits
from train.runs.class_weights import with_class_weights
from train.runs.load import load_trained


def draw_losses(run: Path, split: str, index: int, output: Path) -> str:
    """Draw what the library's losses and the run's own look at in one prediction of the run.

    Args:
        run: Folder of the run.
        split: Name of a split of its dataset.
        index: Number of the image in the split.
        output: The picture.

    Returns:
        The name of the image.

    Raises:
        UserError: The picture cannot be written or drawn, or there is no such image.
    """
    check_picture(output)
    config, dataset, model = load_trained(run)
    samples = dataset.samples(split, config.data.root)
    if index >= len(samples):
        raise UserError(
            f"index must be below {len(samples)}, the images of {dataset.name} {split}; got {index}"
        )
    sample = samples.subset([index])
    check_picture(output, Path(sample.image_name(0)), Path(sample.labels_name(0)))
    image, ids = _read(sample)
    logits = whole_image_logits(model, image[tf.newaxis], config.input.resolution)
    try:
        figure = tfsegloss.explain.draw(
            _losses(with_class_weights(config.loss, run, dataset.num_classes), dataset.num_outputs),
            ids,
            logits,
            image=image.numpy(),
            class_names=dataset.class_names,
            colors=dataset.colors,
        )
        tfsegloss.explain.save(figure, output)
    except ValueError as error:
        raise UserError(str(error)) from None
    return sample.image_name(0)


def check_picture(path: Path, *inputs: Path) -> None:
    """Refuse a picture that could not be drawn and written, before anything is computed.

    Args:
        path: The picture.
        *inputs: Files that it must not overwrite.

    Raises:
        UserError: What is wrong with the path, or matplotlib is missing.
    """
    check_output(path, tfsegloss.explain.SUFFIXES, *inputs)
    try:
        require_matplotlib()
    except ModuleNotFoundError as error:
        raise UserError(str(error)) from None


def _read(sample: Samples) -> tuple[tf.Tensor, tf.Tensor]:
    try:
        return next(iter(read_all(sample)))
    except tf.errors.OpError:
        raise_first_fault(sample)
        raise


def _losses(own: SegmentationLoss, num_outputs: int) -> dict[str, SegmentationLoss]:
    """Return the library's losses, and the run's own, in its first state, if it is none of them.

    A softmax of one class has nothing to tell, nor has LAD of two.
    """
    losses = tfsegloss.explain.losses_by_name(num_classes=num_outputs)
    if all(_options(own) != _options(loss) for loss in losses.values()):
        losses[f"{type(own).__name__} of the run"] = own
    return losses


def _options(loss: SegmentationLoss) -> tuple[type, dict]:
    """Return what makes two losses the same; Keras numbers their names."""
    return type(loss), {**loss.get_config(), "name": None}
