"""What a loss looks at, pixel by pixel: as arrays, and as pictures of several losses.

    python -m tfsegloss.explain LABELS LOGITS --output PICTURE [--losses LOSS…] [--image IMAGE]
    python -m tfsegloss.explain --figures DIR

The pictures need matplotlib: `pip install tfsegloss[plot]`.
"""

import argparse
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

import tfsegloss
from tfsegloss.base import PROBABILITY_MARGIN, SegmentationLoss
from tfsegloss.command_line import Parser, write_whole
from tfsegloss.cross_entropy import SigmoidCrossEntropy, SoftmaxCrossEntropy
from tfsegloss.drawing import draw_optimal_weights, draw_rows, draw_weight_space
from tfsegloss.pixel_loss import PixelLoss
from tfsegloss.weighted import WeightedLosses

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw", "draw_optimal_weights", "draw_weight_space", "explain", "losses_by_name", "save"]

CROSS_ENTROPIES = {"softmax": SoftmaxCrossEntropy, "sigmoid": SigmoidCrossEntropy}
# By activation: logits of probabilities, and back.
TO_LOGITS = {"softmax": tf.math.log, "sigmoid": lambda p: tf.math.log(p) - tf.math.log1p(-p)}
FROM_LOGITS = {"softmax": tf.nn.softmax, "sigmoid": tf.sigmoid}
# What is drawn where nobody says which: what looks at pixels, at windows, at regions, at pairs.
LOSSES = (
    "SoftmaxCrossEntropy",
    "FocalLoss",
    "LMPLoss",
    "LADLoss",
    "SSLLoss",
    "SSIMLoss",
    "RMILoss",
    "AffinityFieldLoss",
)
LMP_FIGURES = {"lmp_figure_1.png": draw_weight_space, "lmp_figure_2.png": draw_optimal_weights}
# Bytes of a PNG's header: bits per channel, and what the channels are (0: grey).
PNG_DEPTH, PNG_COLOUR_TYPE = 24, 25
JPEG = {"pil_kwargs": {"quality": 85, "optimize": True, "progressive": True}}
PILLOW_OPTIONS = {"jpg": JPEG, "jpeg": JPEG, "png": {"pil_kwargs": {"optimize": True}}}


def explain(
    loss: SegmentationLoss, y_true: np.ndarray | tf.Tensor, y_pred: np.ndarray | tf.Tensor
) -> dict[str, np.ndarray]:
    """The maps that show what a loss looks at in one image.

    Every loss gives

    - "valid": bool, the pixels that are not ignored;
    - "pixel_loss": the pixel losses before they are pooled; of a loss of regions, windows or pairs
      the cross-entropy of its softmax or sigmoids;
    - "gradient": √(Σ_c (∂L/∂x_c)²) with L the loss and x the logits;

    and, where they are part of its formula,

    - "weights": ∂L/∂ℓ times the number of counted pixels, so that 1 is the plain mean;
    - "agreement" (LAD): ξ, how many pixels of a window have the class of its centre, which counts;
    - "hard" (SSL): for how many classes f = 1;
    - "difference" (SSL): the largest e of all classes.

    A sum of losses gives "valid" and "gradient" of the sum, and the maps of each part as
    "part/map".

    Args:
        loss: Any loss of the library; it stays as it is, its variables too.
        y_true: Labels as the loss takes them, `[H, W]` or `[1, H, W]`.
        y_pred: `[H, W, C]` or `[1, H, W, C]`: logits, or probabilities where the loss takes these
            (the gradient is that by their logits then).

    Returns:
        Maps `[H, W]` by name, 0 at ignored pixels.

    Raises:
        ValueError: A shape or a label is none that the loss takes.

    Example:

    >>> from tfsegloss import LMPLoss
    >>> labels, logits = np.array([[0, 0, 255]]), np.array([[[0.0, 2.0], [3.0, 0.0], [9.0, 0.0]]])
    >>> maps = explain(LMPLoss(p=1, fraction=0.5), labels, logits)
    >>> sorted(maps)
    ['gradient', 'pixel_loss', 'valid', 'weights']
    >>> maps["weights"].tolist(), maps["pixel_loss"].round(2).tolist()
    ([[2.0, 0.0, 0.0]], [[2.13, 0.05, 0.0]])
    """
    y_true, y_pred = _one_image(y_true, y_pred)
    maps = _maps(loss, y_true, y_pred)
    gradient = tf.norm(_gradient(loss, y_true, y_pred), axis=-1)
    maps["gradient"] = tf.where(maps["valid"], gradient, 0)
    return {name: values[0].numpy() for name, values in maps.items()}


def draw(
    losses: Mapping[str, SegmentationLoss],
    y_true: np.ndarray | tf.Tensor,
    y_pred: np.ndarray | tf.Tensor,
    *,
    image: np.ndarray | None = None,
    classes: Sequence[str] | None = None,
    colours: Sequence[tuple[int, int, int]] | None = None,
) -> "Figure":
    """One picture of what several losses look at in the same image.

    The first row shows the image, the labels, the prediction and its errors; then each loss has a
    row with the maps of `explain`. Gradients are relative to their mean and have one scale, as the
    weights have; from the second loss on they are also compared with the first loss'. Pixels that
    a loss ignores are grey.

    Args:
        losses: By the name that is written above the row.
        y_true: Class ids `[H, W]` or `[1, H, W]`.
        y_pred: As for `explain`; what all the losses take.
        image: uint8 `[H, W, 3]`.
        classes: Names of the classes, for a legend.
        colours: RGB of the classes, 0 to 255.

    Raises:
        ValueError: A shape or a label is none that a loss takes; there is no loss.
        ModuleNotFoundError: matplotlib is missing.

    Example:

    >>> labels, logits = np.zeros([6, 8], int), np.zeros([6, 8, 2])
    >>> figure = draw({"Region mutual information": tfsegloss.RMILoss()}, labels, logits)
    """
    if not losses:
        raise ValueError("`losses` must hold at least one loss. Received: losses={}")
    rows = {name: explain(loss, y_true, y_pred) for name, loss in losses.items()}
    truth, logits = (tensor[0].numpy() for tensor in _one_image(y_true, y_pred))
    if truth.ndim == 3:
        truth = truth[..., 0] if truth.shape[-1] == 1 else truth.argmax(axis=-1)
    if logits.shape[-1] == 1:
        limit = 0 if next(iter(losses.values())).from_logits else 0.5
        predicted = (logits[..., 0] > limit).astype(int)
    else:
        predicted = logits.argmax(axis=-1)
    valid = np.logical_or.reduce([maps["valid"] for maps in rows.values()])
    if image is not None and np.shape(image) != (*truth.shape, 3):
        raise ValueError(
            f"`image` must be {(*truth.shape, 3)} (height, width, 3), as the labels. "
            f"Received: image.shape={np.shape(image)}"
        )
    return draw_rows(
        rows, truth, predicted, valid, image=image, class_names=classes, colours=colours
    )


def losses_by_name(names: Sequence[str] = LOSSES) -> dict[str, SegmentationLoss]:
    """Losses of the library with their default options.

    Args:
        names: Names of their classes.

    Raises:
        ValueError: The library has no loss of a name that can do without options.

    Example:

    >>> losses_by_name(["RMILoss"])["RMILoss"].region_size
    3
    """
    public = {name: getattr(tfsegloss, name) for name in tfsegloss.__all__}
    known = {
        name: value
        for name, value in public.items()
        if isinstance(value, type)
        and issubclass(value, SegmentationLoss)
        and value not in (SegmentationLoss, PixelLoss, WeightedLosses)
    }
    for name in names:
        if name not in known:
            raise ValueError(f"a loss must be one of {', '.join(sorted(known))}; got {name!r}")
    return {name: known[name]() for name in names}


def save(figure: "Figure", path: str | os.PathLike) -> None:
    """Writes a picture, wholly or not at all, in the format of the path's suffix.

    Raises:
        ValueError: matplotlib does not know the format.
        OSError: The file cannot be written.
    """
    write_whole(Path(path), _encoded(figure, Path(path)))


def _one_image(y_true, y_pred) -> tuple[tf.Tensor, tf.Tensor]:
    """The pair with a batch axis of 1."""
    y_true, y_pred = tf.convert_to_tensor(y_true), tf.convert_to_tensor(y_pred)
    if y_pred.shape.rank == 3:
        y_pred = y_pred[tf.newaxis]
    if y_pred.shape.rank != 4 or y_pred.shape[0] != 1:
        raise ValueError(
            "`y_pred` must be (height, width, classes), or (1, height, width, classes). "
            f"Received: y_pred.shape={y_pred.shape}"
        )
    return y_true if y_true.shape[:3] == y_pred.shape[:3] else y_true[tf.newaxis], y_pred


def _maps(loss: SegmentationLoss, y_true: tf.Tensor, y_pred: tf.Tensor) -> dict[str, tf.Tensor]:
    """The maps `[1, H, W]` that a forward pass gives."""
    if isinstance(loss, WeightedLosses):
        parts = {
            name: explain(part, y_true, y_pred)
            for name, (_, part) in loss.losses.items()
            if isinstance(part, SegmentationLoss)
        }
        # What another kind of loss ignores cannot be known.
        everything = np.full(y_pred.shape[1:3], len(parts) < len(loss.losses))
        valid = np.logical_or.reduce([everything, *(maps["valid"] for maps in parts.values())])
        return {"valid": tf.constant(valid)[tf.newaxis]} | {
            f"{part}/{name}": tf.constant(values)[tf.newaxis]
            for part, maps in parts.items()
            for name, values in maps.items()
        }
    maps = loss.maps(y_true, y_pred)
    if "pixel_loss" not in maps:
        cross_entropy = CROSS_ENTROPIES[loss.activation](
            from_logits=loss.from_logits, ignore_class=loss.ignore_class
        )
        maps["pixel_loss"] = cross_entropy.maps(y_true, y_pred)["pixel_loss"]
    return maps


def _gradient(loss: SegmentationLoss, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """The gradient `[1, H, W, C]` by the logits, of a copy: a backward pass may move variables."""
    copy = type(loss).from_config(loss.get_config())
    copy.build(y_pred.shape[-1])
    if loss.variables:
        for new, old in zip(copy.variables, loss.variables, strict=True):
            new.assign(old)
    dtype = tf.float64 if y_pred.dtype == tf.float64 else tf.float32
    logits, to_prediction = tf.cast(y_pred, dtype), tf.identity
    if not loss.from_logits:
        activation = _activation(loss)
        to_prediction = FROM_LOGITS[activation]
        inside = tf.clip_by_value(logits, PROBABILITY_MARGIN, 1 - PROBABILITY_MARGIN)
        logits = TO_LOGITS[activation](inside)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = copy(y_true, to_prediction(logits))
    return tape.gradient(value, logits)


def _activation(loss: SegmentationLoss) -> str:
    if not isinstance(loss, WeightedLosses):
        return loss.activation
    parts = [part for _, part in loss.losses.values() if isinstance(part, SegmentationLoss)]
    activations = {_activation(part) for part in parts}
    if len(activations) != 1:
        raise ValueError(
            "losses of probabilities can be explained together only if these are all of a softmax "
            f"or all of sigmoids. Received: {sorted(activations)}"
        )
    return activations.pop()


def _encoded(figure: "Figure", path: Path) -> bytes:
    """The picture as a file of the path's format."""
    kind = path.suffix.lower().removeprefix(".")
    options = PILLOW_OPTIONS.get(kind, {})
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind or "png", **options)
    return buffer.getvalue()


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m tfsegloss.explain",
        description="Pictures of what losses look at in an image, or the figures of LMP's paper.",
    )
    parser.add_argument("labels", type=Path, nargs="?", help="Ids [H, W]: .npy, or a grey PNG.")
    parser.add_argument("logits", type=Path, nargs="?", help="Logits [H, W, C]: .npy.")
    parser.add_argument("--output", type=Path, help="The picture: .png, .jpg, .pdf, .svg.")
    parser.add_argument("--losses", nargs="+", metavar="LOSS", help=f"Of {', '.join(LOSSES)}, ….")
    parser.add_argument("--image", type=Path, help="The image, JPEG or PNG.")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="Write LMP's figures 1 and 2.")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; the user's mistakes end with one line and status 2.

    Args:
        arguments: Without the program's name; None: those of the process.
    """
    parser = _parser()
    values = parser.parse_args(arguments)
    pair = (values.labels, values.logits, values.output)
    if values.figures is None and None in pair:
        parser.error("expected LABELS LOGITS --output PICTURE, or --figures DIR")
    if values.figures is not None and any((*pair, values.losses, values.image)):
        parser.error("--figures DIR stands alone")
    try:
        if values.figures is not None:
            _write_figures(values.figures)
        else:
            _write_picture(values)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        parser.error(str(error))


def _write_figures(folder: Path) -> None:
    encoded = {name: _encoded(make(), Path(name)) for name, make in LMP_FIGURES.items()}
    folder.mkdir(parents=True, exist_ok=True)
    for name, contents in encoded.items():
        write_whole(folder / name, contents)


def _write_picture(values: argparse.Namespace) -> None:
    losses = losses_by_name(values.losses or LOSSES)
    labels = _read_labels(values.labels)
    logits = _read_array(values.logits)
    image = None if values.image is None else _read_image(values.image)
    save(draw(losses, labels, logits, image=image), values.output)


def _read_labels(path: Path) -> np.ndarray:
    """Ids of a `.npy` file or of a grey PNG."""
    if path.suffix == ".npy":
        return _read_array(path)
    contents = path.read_bytes()
    # TensorFlow reads a palette as grey levels, and stretches 1 to 4 bits of grey, silently.
    if contents[:4] != b"\x89PNG" or tuple(contents[PNG_DEPTH : PNG_COLOUR_TYPE + 1]) != (8, 0):
        raise ValueError(f"{path}: expected ids in a .npy file or in an 8-bit grey PNG")
    try:
        return tf.io.decode_png(contents, channels=1)[..., 0].numpy()
    except tf.errors.OpError:
        raise ValueError(f"{path}: cannot be decoded") from None


def _read_array(path: Path) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        raise ValueError(f"{path}: expected an array of numbers in a .npy file") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf":
        raise ValueError(f"{path}: expected an array of numbers in a .npy file")
    return array


def _read_image(path: Path) -> np.ndarray:
    try:
        return tf.io.decode_image(path.read_bytes(), channels=3, expand_animations=False).numpy()
    except tf.errors.OpError:
        raise ValueError(f"{path}: cannot be decoded; expected JPEG or PNG") from None


if __name__ == "__main__":
    main()
