"""The training stream: a pure function of the seed and the position, so it can start anywhere."""

import numpy as np
import tensorflow as tf

from train.config import InputConfig
from train.data.decoding.images import crop, decode_box
from train.data.decoding.labels import class_ids, decode_raw_labels
from train.data.input.augmentation import (
    CROP_UNIFORMS,
    color_and_pad,
    draw_crop,
    resize_and_flip,
)
from train.data.input.sampling import SAMPLING_UNIFORMS, ClassSampling, draw_pixel
from train.data.samples.samples import Samples


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
    """Return endless batches of augmented samples.

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
        (images uint8 `[batch / workers, *crop, 3]`, ids uint8 `[batch / workers, *crop]`).

    Raises:
        ValueError: The batch cannot be shared among the workers.
    """
    share, rest = divmod(batch_size, workers)
    if rest:
        raise ValueError(f"`batch_size` must be a multiple of {workers=}. Received: {batch_size=}")
    own = slice(worker * share, (worker + 1) * share)

    def plan(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        indices, uniforms = _plan(step, len(samples), batch_size, seed)
        return indices[own], uniforms[own]

    def load(index: tf.Tensor, uniforms: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return _load(samples, config, sampling, index, uniforms)

    steps = tf.data.Dataset.range(first_step, tf.int64.max // batch_size)
    stream = (
        steps.map(plan).unbatch().map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    )
    options = tf.data.Options()
    options.threading.max_intra_op_parallelism = 1  # one thread an image
    stream = stream.batch(share, drop_remainder=True).prefetch(tf.data.AUTOTUNE)
    return stream.with_options(options)


def step_samples(
    samples: Samples,
    step: int,
    *,
    batch_size: int,
    seed: int,
    sampling: ClassSampling | None = None,
) -> list[int]:
    """Return the numbers of the samples that a batch of the `training_stream` is made of.

    Args:
        samples: Where they come from.
        step: Batches before it.
        batch_size: As there.
        seed: As there.
        sampling: As there, when the batch was drawn.
    """
    indices, uniforms = _plan(tf.constant(step, tf.int64), len(samples), batch_size, seed)
    if sampling is None:
        return indices.numpy().tolist()
    pairs = zip(indices, uniforms[:, CROP_UNIFORMS:], strict=True)
    return [int(sampling.draw(index, of_class)[0]) for index, of_class in pairs]


def _plan(step: tf.Tensor, samples: int, batch_size: int, seed: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Draw the samples of a step and their random numbers; singly that would be slow."""
    positions = step * batch_size + np.arange(batch_size)
    epochs, places = positions // samples, positions % samples
    seeds = tf.stack(
        [tf.zeros_like(epochs), tf.fill([batch_size], tf.cast(seed, tf.int64)), epochs], 1
    )
    # tf.random.experimental.index_shuffle takes the same seed for all places.
    indices = tf.raw_ops.RandomIndexShuffle(
        index=places, seed=seeds, max_index=tf.constant(samples - 1, tf.int64), rounds=4
    )
    shape = [batch_size, CROP_UNIFORMS + SAMPLING_UNIFORMS]
    return indices, tf.random.stateless_uniform(shape, [seed, step])


def _load(
    samples: Samples,
    config: InputConfig,
    sampling: ClassSampling | None,
    index: tf.Tensor,
    uniforms: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Load the augmented sample that random numbers in [0, 1) make of the one with an index."""
    of_crop, of_class = uniforms[:CROP_UNIFORMS], uniforms[CROP_UNIFORMS:]
    if sampling is not None:
        index, drawn_class = sampling.draw(index, of_class)
    image, labels = samples.read(index)
    raw_labels = decode_raw_labels(labels, samples.encoding)
    size = tf.shape(raw_labels.values)
    if sampling is None:
        drawn = draw_crop(size, config, of_crop)
    else:
        drawn = tf.cond(
            drawn_class < 0,
            lambda: draw_crop(size, config, of_crop),
            lambda: draw_crop(
                size, config, of_crop, draw_pixel(raw_labels, drawn_class, of_class[-1])
            ),
        )
    image = decode_box(image, drawn.box, size)
    image, values = resize_and_flip(image, crop(raw_labels.values, drawn.box), drawn)
    # Values become ids last, since only those of the crop must be looked up.
    return color_and_pad(image, class_ids(values, raw_labels, samples.encoding), drawn, config)
