"""Labels and logits for the tests: ordinary ones, and such as break careless losses."""

import numpy as np
import tensorflow as tf

CLASSES = 3  # of every example below
IGNORED = 255  # the losses' default


def example(shape=(2, 13, 11), ignored_share=0.2, seed=0):
    """Ids with blobs of classes and ignored pixels, and logits that know a little of them."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, CLASSES, [shape[0], -(-shape[1] // 3), -(-shape[2] // 3)])
    ids = coarse.repeat(3, 1).repeat(3, 2)[:, : shape[1], : shape[2]].astype(np.int32)
    logits = random.normal(size=(*shape, CLASSES)) * 2 + np.eye(CLASSES)[ids]
    ids[random.random(ids.shape) < ignored_share] = IGNORED
    return ids, logits.astype(np.float32)


def hostile_examples():
    """(name, ids, logits) of inputs that break careless losses."""
    ids, logits = example()
    truth = np.where(ids == IGNORED, 0, ids)
    yield "huge", ids, np.sign(logits) * 1e4
    yield "all ignored", np.full_like(ids, IGNORED), logits
    yield "one image ignored", np.stack([np.full_like(ids[0], IGNORED), ids[1]]), logits
    yield "one class", np.ones_like(ids), logits
    yield "blank", ids, np.zeros_like(logits)
    yield "equal to the truth", ids, (np.eye(CLASSES, dtype=np.float32)[truth] - 0.5) * 2e4
    for shape in [(1, 1, 1), (1, 2, 3), (1, 7, 5), (1, 33, 41)]:
        yield f"size {shape}", *example(shape)


def soft_targets(shape, seed=1):
    """Shares of the classes `[B, H, W, C]`, of sum 1."""
    return np.random.default_rng(seed).dirichlet([1.0] * CLASSES, shape)


def pixel_losses(dtype=np.float32, empty=False):
    """Pixel losses with ties of three images, and where they are valid; 0 where not.

    With `empty`, the last image has no valid pixel.
    """
    random = np.random.default_rng(0)
    valid = random.random([3, 7, 9]) < 0.7
    if empty:
        valid[2] = False
    losses = np.round(random.exponential(size=valid.shape), 1) * valid
    return tf.constant(losses, dtype), tf.constant(valid)
