"""Trainers of networks small enough for tests, and data for them."""

import keras
import numpy as np
import tensorflow as tf

import models
import tfsegloss
from train.data.decoding.palette import IGNORED
from train.loop.schedules import PolynomialWithWarmup
from train.loop.trainer import Trainer

CLASSES = 3


def two_convolutions(*between):
    """Two convolutions and the layers between them, the least that learns something."""
    return keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            keras.layers.Conv2D(8, 3, padding="same", activation="relu"),
            *between,
            keras.layers.Conv2D(CLASSES, 3, padding="same"),
        ]
    )


def with_memory():
    """Add what a checkpoint must hold too: running statistics, and the state of dropout."""
    return two_convolutions(keras.layers.BatchNormalization(), keras.layers.Dropout(0.5))


def deeplab(**options):
    return models.build("deeplab_v3_plus", backbone="mobilenet_v2", num_classes=CLASSES, **options)


def deeplab_without_dropout():
    """Replicas draw dropout independently of each other: no step of one device has their masks."""
    return deeplab(dropout=0.0)


def batches(count, size=16, dtype=np.float32):
    """Batches of four whose first two images have almost no labels."""
    random = np.random.default_rng(0)
    for _ in range(count):
        images = random.uniform(0, 255, [4, size, size, 3]).astype(dtype)
        ids = random.integers(0, CLASSES, [4, size, size]).astype(np.uint8)
        ids[:2][random.random([2, size, size]) < 0.95] = IGNORED
        yield images, ids


def shared(strategy, data):
    """Give each replica its share of each batch."""
    for images, ids in data:
        dataset = tf.data.Dataset.from_tensors((images, ids)).unbatch().batch(len(images))
        yield from strategy.experimental_distribute_dataset(dataset)


def values(variables):
    return [v.numpy() for v in variables]


def make_trainer(strategy, make_model, folder, loss=None, steps=20, **options):
    """Make a trainer; its loss has two parts, and a state that every step changes."""
    keras.utils.set_random_seed(1)
    with strategy.scope():
        schedule = PolynomialWithWarmup(0.05, steps=steps, warmup_steps=2)
        optimizer = keras.optimizers.SGD(schedule, momentum=0.9, weight_decay=1e-3)
        loss = loss or tfsegloss.CenterLoss(weight=0.1)
        return Trainer(
            strategy=strategy,
            model=make_model(),
            loss=loss,
            optimizer=optimizer,
            folder=folder,
            schedule=schedule,
            **options,
        )
