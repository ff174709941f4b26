"""The training stream: a pure function of the seed and the position, so it can start anywhere."""

import tensorflow as tf

from train.config import InputConfig
from train.data.augmentation import cut, draw, finish
from train.data.images import decode_box
from train.data.labels import decode_pixels, pixel_ids
from train.data.samples import Samples
from train.data.sampling import ClassSampling, draw_pixel


def training_stream(
    samples: Samples,
    config: InputConfig,
    *,
    batch_size: int,
    seed: int,
    first_step: int = 0,
    sampling: ClassSampling | None = None,
    worker: int = 0,
    workers: int = 1,
) -> tf.data.Dataset:
    """Endless batches of augmented samples.

    Args:
        samples: Where they come from.
        config: How they are augmented.
        batch_size: Images in a batch, over all replicas and workers.
        seed: Of the order, of the sampling and of the augmentation.
        first_step: Batches to leave out; they are not computed.
        sampling: How crops are drawn by class. None: every sample once an epoch, shuffled anew
            each.
        worker: Which of the workers this is: it gets its own part of each batch.
        workers: How many there are; the batch size is a multiple of it.

    Returns:
        (images float32 `[batch / workers, *crop, 3]`, ids uint8 `[batch / workers, *crop]`).
    """
    share = batch_size // workers

    def load(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        step, place = number // share, number % share
        position = step * batch_size + worker * share + place
        return _load(samples, config, sampling, seed, position)

    last = tf.int64.max // batch_size * share
    numbers = tf.data.Dataset.range(first_step * share, last)
    stream = numbers.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return stream.batch(share, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def _load(
    samples: Samples,
    config: InputConfig,
    sampling: ClassSampling | None,
    seed: int,
    position: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The augmented sample at a position of the stream."""
    epoch, place = position // len(samples), position % len(samples)
    index = tf.random.experimental.index_shuffle(
        place, seed=tf.stack([tf.constant(seed, tf.int64), epoch]), max_index=len(samples) - 1
    )
    own_seed = tf.stack([tf.constant(seed, tf.int64), position])
    if sampling is None:
        image, labels = samples.read(index)
        pixels = decode_pixels(labels)
        size = tf.shape(pixels)[:2]
        drawn = draw(size, config, own_seed)
        ids = pixel_ids(cut(pixels, drawn.box), samples.code)
    else:
        class_seed, pixel_seed = tf.unstack(tf.random.split(tf.random.fold_in(own_seed, 1)))
        index, drawn_class = sampling.draw(index, class_seed)
        image, labels = samples.read(index)
        ids = pixel_ids(decode_pixels(labels), samples.code)
        size = tf.shape(ids)
        drawn = tf.cond(
            drawn_class < 0,
            lambda: draw(size, config, own_seed),
            lambda: draw(size, config, own_seed, draw_pixel(ids, drawn_class, pixel_seed)),
        )
        ids = cut(ids, drawn.box)
    return finish(decode_box(image, drawn.box, size), ids, drawn, config)
