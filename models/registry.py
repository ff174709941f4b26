"""One door to all networks, and to weights kept in files."""

import os
import warnings
from pathlib import Path
from typing import Any

import keras

from models.deeplab_v3_plus import deeplab_v3_plus

ARCHITECTURES = {"deeplab_v3_plus": deeplab_v3_plus}

WEIGHT_FILES = (".keras", ".weights.h5")


def build(
    architecture: str,
    *,
    backbone: str,
    classes: int,
    output_stride: int = 16,
    weights: str | os.PathLike[str] | None = None,
    batch_norm_momentum: float = 0.99,
    **options: Any,
) -> keras.Model:
    """Build a segmentation network.

    Args:
        architecture: A key of `ARCHITECTURES`.
        backbone: A key of `BACKBONES`.
        classes: Number of classes C, at least 1.
        output_stride: 8, 16 or 32. Weights fit all three.
        weights: None for random ones; "imagenet" for a backbone with the weights that
            keras.applications downloads; or a path of the weights of a whole network that was built
            with the same `architecture`, `backbone`, `classes` and `options`, saved by
            `model.save("….keras")` or `model.save_weights("….weights.h5")`.
        batch_norm_momentum: In [0, 1), of every batch normalisation.
        **options: The architecture's own, see its function.

    Returns:
        A functional model from RGB values 0–255 `(batch, height, width, 3)`, any size, to logits
        `(batch, height, width, classes)` in float32 (float64 where Keras runs in float64).

    Raises:
        ValueError: if an argument is none of the possible ones, or a file does not fit.

    Example:
        >>> model = models.build("deeplab_v3_plus", backbone="resnet50", classes=19)
        >>> model(tf.zeros([2, 64, 96, 3])).shape
        TensorShape([2, 64, 96, 19])
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(
            f"`architecture` must be one of {tuple(ARCHITECTURES)}. "
            f"Received: architecture={architecture!r}"
        )
    path = _weights_path(weights)
    model = ARCHITECTURES[architecture](
        backbone=backbone,
        classes=classes,
        output_stride=output_stride,
        weights=weights if path is None else None,
        batch_norm_momentum=batch_norm_momentum,
        **options,
    )
    if path is not None:
        _load(model, path)
    return model


def _weights_path(weights: str | os.PathLike[str] | None) -> Path | None:
    """Path of a weights file, or None where `weights` does not name one."""
    if weights is None or weights == "imagenet":
        return None
    path = Path(weights)
    if not path.is_file() or not path.name.endswith(WEIGHT_FILES):
        raise ValueError(
            '`weights` must be None, "imagenet", or the path of an existing file that ends in one '
            f"of {WEIGHT_FILES}. Received: weights={str(weights)!r}"
        )
    return path


def _load(model: keras.Model, path: Path) -> None:
    try:
        with warnings.catch_warnings():
            # Keras only warns when a file holds nothing for some of the layers.
            warnings.filterwarnings("error", message=".*freshly-initialized", category=UserWarning)
            model.load_weights(path)
    except (ValueError, UserWarning) as error:
        raise ValueError(
            f"`weights` must come from a network built with the same arguments as {model.name}, "
            f"{model.output_shape[-1]} classes. Received: weights={str(path)!r}"
        ) from error
