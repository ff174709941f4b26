"""Drawing crops by class: which class, which image that has it, which of its pixels."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfsegloss.metrics import confusion
from train.data.decoding.labels import RawLabels

# Share of the running confusion matrix that each step keeps, which then covers about 100 steps.
DECAY = 0.99
# Random numbers that drawing by class needs: uniform or not, the class, the sample, the pixel.
SAMPLING_UNIFORMS = 4


@dataclass(frozen=True)
class ClassSampling:
    """Draws a sample by class, or uniformly.

    Args:
        uniform_share: Share of the samples that is drawn uniformly.
        shares: Share of each class among the others, float `[C]`; 0 where no sample has it.
        members: The samples that have each class, one class after the other, int32 `[M]`.
        counts: How many these are, int32 `[C]`.
    """

    uniform_share: float
    shares: np.ndarray
    members: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, pixels: np.ndarray, weights: np.ndarray, uniform_share: float) -> "ClassSampling":
        """Make the sampling from what the samples hold.

        Args:
            pixels: Pixels of each class in each sample, int `[N, C]`.
            weights: How often each class is to be drawn, relative to the others, float `[C]`.
            uniform_share: Share of the samples that is drawn uniformly, in [0, 1].
        """
        _, members = np.nonzero(pixels.T)
        counts = np.count_nonzero(pixels, axis=0)
        shares = np.where(counts > 0, weights, 0.0)
        shares = shares / shares.sum()
        return cls(uniform_share, shares, members.astype(np.int32), counts.astype(np.int32))

    def frequencies(self, pixels: np.ndarray) -> np.ndarray:
        """Return how often a crop is drawn for a pixel of each class, float `[C]`.

        Args:
            pixels: Frequencies of the classes' pixels, which crops that are anywhere are drawn for.
        """
        return self.uniform_share * pixels + (1 - self.uniform_share) * self.shares

    def draw(self, index: tf.Tensor, uniforms: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Draw a sample and the class its crop is to be centered on.

        Args:
            index: The sample to take if it is drawn uniformly, `[]`.
            uniforms: In [0, 1), float32 `[SAMPLING_UNIFORMS]`; the last one is for `draw_pixel`.

        Returns:
            Number of the sample, int64 `[]`, and of the class, int32 `[]`; -1: anywhere.
        """
        uniform, of_class, of_member, _ = tf.unstack(uniforms)
        ends = tf.constant(np.cumsum(self.shares)[:-1], tf.float32)
        drawn = tf.searchsorted(ends, [of_class], side="right")[0]
        count = tf.constant(self.counts)[drawn]
        start = tf.constant(np.cumsum(self.counts) - self.counts, tf.int32)[drawn]
        place = tf.minimum(tf.cast(of_member * tf.cast(count, tf.float32), tf.int32), count - 1)
        member = tf.constant(self.members)[start + place]
        anywhere = uniform < self.uniform_share
        sample = tf.where(anywhere, index, tf.cast(member, index.dtype))
        return sample, tf.where(anywhere, -1, drawn)


def draw_pixel(raw_labels: RawLabels, drawn: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
    """Draw one of the pixels of a class.

    Args:
        raw_labels: A label map.
        drawn: A class that occurs in it, int `[]`.
        uniform: In [0, 1), float32 `[]`: which of its pixels.

    Returns:
        Row and column, int32 `[2]`.
    """
    values = tf.cast(tf.where(raw_labels.table == tf.cast(drawn, tf.int16))[:, 0], tf.uint8)
    places = tf.where(tf.reduce_any(raw_labels.values[..., tf.newaxis] == values, axis=-1))
    places = tf.cast(places, tf.int32)
    count = tf.shape(places)[0]
    return places[tf.minimum(tf.cast(uniform * tf.cast(count, tf.float32), tf.int32), count - 1)]


class ComplementaryWeights:
    """The weights of LMP's complementary sampling: the worse a class is segmented, the larger.

    The paper (section 4) keeps "track of the per-class Intersection over Union (IoU) scores on the
    training data", draws inversely to them and blends that with uniform sampling; it gives no
    formula. Here a class' weight is in proportion to 1 − IoU, its IoU is that of the training
    batches of the last 100 steps or so, and 0 as long as it has not occurred.

    Args:
        num_classes: Number of classes.
    """

    def __init__(self, num_classes: int):
        with tf.init_scope():
            self.matrix = tf.Variable(tf.zeros([num_classes] * 2, tf.float64), trainable=False)
            self.weights = tf.Variable(
                tf.ones([num_classes], tf.float64) / num_classes, trainable=False
            )

    @property
    def variables(self) -> list[tf.Variable]:
        """What a checkpoint must hold."""
        return [self.matrix, self.weights]

    def observe(self, matrix: tf.Tensor) -> None:
        """Take in the confusion matrix `[C, C]` of one step, rows the truth."""
        self.matrix.assign(DECAY * self.matrix + tf.cast(matrix, tf.float64))

    def refresh(self) -> None:
        """Make the weights those of the IoU as it runs now; until then they stay.

        In between they must not change: a resumed run reads the same samples as one that was not
        stopped, however far ahead either of them reads.
        """
        iou = confusion.iou_per_class(self.matrix)
        missing = 1 - tf.where(tf.math.is_nan(iou), tf.zeros_like(iou), iou)
        missing += 1e-3  # equal weights where all classes are perfect
        self.weights.assign(tf.cast(missing / tf.reduce_sum(missing), tf.float64))
