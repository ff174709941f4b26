"""Losses that are a pooled map of pixel losses."""

from collections.abc import Sequence

import tensorflow as tf

from tfsegloss.core.checks import check_class_weights
from tfsegloss.core.keras_versions import keras
from tfsegloss.core.targets import Targets, zero_ignored
from tfsegloss.kernels.class_sums import times_matrix
from tfsegloss.losses.base import SegmentationLoss
from tfsegloss.poolings.pooling import Mean, Pooling


class PixelLoss(SegmentationLoss):
    """Base of the losses that are a pooled map of pixel losses.

    Args:
        from_logits: See `SegmentationLoss`.
        ignore_class: See `SegmentationLoss`.
        class_weights: C weights ≥ 0, for one class those of the ids 0 and 1; a pixel's loss is
            multiplied by that of its class (several: their mean; none: 1). The divisor stays the
            number of valid pixels. None: all 1.
        pooling: How the map becomes one number per image; None: `Mean()`.
        reduction: See `SegmentationLoss`.
        name: See `SegmentationLoss`.
    """

    def __init__(
        self,
        *,
        from_logits: bool = True,
        ignore_class: int | Sequence[int] | None = 255,
        class_weights: Sequence[float] | None = None,
        pooling: Pooling | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ):
        super().__init__(
            from_logits=from_logits, ignore_class=ignore_class, reduction=reduction, name=name
        )
        self.class_weights = check_class_weights(class_weights)
        if not isinstance(pooling, Pooling | None):
            raise ValueError(
                "`pooling` must be a tfsegloss.Pooling, such as TopK(), or None. "
                f"Received: pooling={pooling!r}"
            )
        self.pooling = Mean() if pooling is None else pooling

    def pixel_losses(self, targets: Targets, logits: tf.Tensor) -> tf.Tensor:
        """Return the pixel losses `[B, H, W]`; the logits may hold NaN at ignored pixels."""
        raise NotImplementedError

    def pooled_mask(self, targets: Targets) -> tf.Tensor:
        """Return the pixels that are pooled, bool `[B, H, W]`."""
        return targets.valid

    def terms(
        self, targets: Targets, logits: tf.Tensor, pixel_weights: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Return the pooled pixel losses."""
        losses = self._weighted_losses(targets, logits)
        if pixel_weights is not None:
            losses *= pixel_weights
        counted = self.pooled_mask(targets)
        return {"pixels": self.pooling(zero_ignored(losses, counted), counted)}

    def term_maps(self, targets: Targets, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the pixel losses, and of poolings that weigh ∂L/∂ℓ times the pooled pixels."""
        losses = zero_ignored(self._weighted_losses(targets, logits), targets.valid)
        maps = {"pixel_loss": losses}
        if not isinstance(self.pooling, Mean):
            counted = self.pooled_mask(targets)
            losses = zero_ignored(losses, counted)
            with tf.GradientTape() as tape:
                tape.watch(losses)
                pooled = self.pooling(losses, counted)
            count = tf.math.count_nonzero(counted, axis=[1, 2], keepdims=True, dtype=losses.dtype)
            weights = tape.gradient(pooled, losses) * count
            maps["weights"] = zero_ignored(weights, counted)
        return maps

    def get_config(self) -> dict:
        """Return all options, the pooling serialized."""
        config = super().get_config()
        if "pooling" in config:  # a subclass may have chosen it
            config["pooling"] = keras.saving.serialize_keras_object(self.pooling)
        return config

    @classmethod
    def from_config(cls, config: dict) -> "PixelLoss":
        """Return the loss with these options."""
        if "pooling" in config:
            pooling = keras.saving.deserialize_keras_object(config["pooling"])
            config = {**config, "pooling": pooling}
        return cls(**config)

    def _weighted_losses(self, targets: Targets, logits: tf.Tensor) -> tf.Tensor:
        """Return the pixel losses `[B, H, W]` times the weights of the classes."""
        losses = self.pixel_losses(targets, logits)
        if self.class_weights is not None:
            losses *= _weights_by_class(self.class_weights, targets, logits)
        return losses


def _weights_by_class(weights: list[float], targets: Targets, logits: tf.Tensor) -> tf.Tensor:
    """Return the weights of pixels `[B, H, W]`: of its class, or the mean of its soft classes."""
    num_classes = max(logits.shape[-1], 2)
    if len(weights) != num_classes:
        raise ValueError(
            f"`class_weights` must hold {num_classes} numbers, one per class of `y_pred`. "
            f"Received: {len(weights)}"
        )
    if targets.ids is not None:
        return tf.gather(tf.constant(weights, logits.dtype), targets.ids)
    shares = tf.cast(targets.dense, logits.dtype)
    if logits.shape[-1] == 1:
        background, foreground = weights
        return background + (foreground - background) * shares[..., 0]
    total = tf.reduce_sum(shares, axis=-1)
    weighted = times_matrix(shares, tf.constant(weights, logits.dtype)[:, tf.newaxis])[..., 0]
    return (weighted + tf.nn.relu(1 - total)) / tf.maximum(total, 1)
