"""The training stream: a pure function of the seed and the position, so it can start anywhere."""

from collections.abc import Sequence

import tensorflow as tf

from train.augmentation import augment
from train.config import InputConfig
from train.datasets import Dataset, Sample
from train.reading import read_sample


def training_stream(
    samples: Sequence[Sample],
    dataset: Dataset,
    config: InputConfig,
    *,
    batch_size: int,
    seed: int,
    first_step: int = 0,
) -> tf.data.Dataset:
    """Endless batches of augmented samples, every sample once an epoch, shuffled anew each.

    Args:
        samples: The files.
        dataset: Their dataset.
        config: How they are augmented.
        batch_size: Images in a batch, over all replicas.
        seed: Of the order and of the augmentation.
        first_step: Batches to leave out; they are not computed.

    Returns:
        (images float32 `[batch, *crop, 3]`, ids uint8 `[batch, *crop]`).
    """
    images = tf.constant([str(sample.image) for sample in samples])
    labels = tf.constant([str(sample.labels) for sample in samples])
    count = len(samples)

    def load(position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        epoch, place = position // count, position % count
        index = tf.random.experimental.index_shuffle(
            place, seed=tf.stack([tf.constant(seed, tf.int64), epoch]), max_index=count - 1
        )
        image, ids = read_sample(images[index], labels[index], dataset)
        return augment(image, ids, config, tf.stack([tf.constant(seed, tf.int64), position]))

    last = tf.int64.max // batch_size * batch_size
    positions = tf.data.Dataset.range(first_step * batch_size, last)
    stream = positions.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return stream.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)
