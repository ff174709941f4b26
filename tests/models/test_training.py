"""Steps of gradient descent on one device and on two. Not traced: that takes longer than they."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models import ARCHITECTURES
from tests.models import networks

BATCH, SIDE, CLASSES = 4, 32, 3


@pytest.fixture
def batch(images):
    x = images(BATCH, SIDE, SIDE, 3)
    return x, np.random.default_rng(1).integers(0, CLASSES, (BATCH, SIDE, SIDE))


def build(architecture="deeplab_v3_plus", **options):
    keras.utils.set_random_seed(0)
    if architecture != "deeplab_v2":
        options["dropout"] = 0.0
    return networks.build(architecture, num_classes=CLASSES, **options)


def gradients(model, x, y):
    with tf.GradientTape() as tape:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, model(x, training=True))
        loss = tf.reduce_sum(losses) / (BATCH * SIDE * SIDE)  # of the global batch
    return loss, tape.gradient(loss, model.trainable_variables)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_weight_has_a_gradient(architecture, batch):
    model = build(architecture)
    _, found = gradients(model, *batch)
    for variable, gradient in zip(model.trainable_variables, found, strict=True):
        assert gradient is not None, variable.path
        assert np.isfinite(gradient).all(), variable.path
        assert np.any(gradient), variable.path


@pytest.mark.parametrize(
    "backbone", ["small", pytest.param("mobilenet_v2", marks=pytest.mark.full)]
)
def test_loss_falls(backbone, batch):
    model = build(**({} if backbone == "small" else {"backbone": backbone}))
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    x, _ = batch
    x[:, :, : SIDE // 2] /= 4
    y = np.zeros((BATCH, SIDE, SIDE), "int64")
    y[:, :, : SIDE // 2] = 2
    losses = []
    for _ in range(12):
        loss, found = gradients(model, x, y)
        optimizer.apply(found, model.trainable_variables)
        losses.append(float(loss))
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.slow
def test_two_replicas_take_the_steps_of_one(batch, float64, two_replicas):
    """In float32 the rounding of two summation orders grows through 50 normalized layers."""
    alone = _weights_after_three_steps(tf.distribute.get_strategy(), batch)
    together = _weights_after_three_steps(two_replicas, batch)
    for one, two in zip(alone, together, strict=True):
        np.testing.assert_allclose(two, one, atol=1e-6)


def _weights_after_three_steps(strategy, batch):
    with strategy.scope():
        model = build(backbone="mobilenet_v2")
        before = model.get_weights()
        optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
        optimizer.build(model.trainable_variables)
    x, y = (tf.constant(part) for part in batch)
    parts = strategy.num_replicas_in_sync
    share = BATCH // parts

    def values(part):
        return strategy.experimental_distribute_values_from_function(
            lambda context: part[context.replica_id_in_sync_group * share :][:share]
        )

    def step(x, y):
        def replica_step(x, y):
            _, found = gradients(model, x, y)
            optimizer.apply(found, model.trainable_variables)

        strategy.run(replica_step, args=(x, y))

    for _ in range(3):
        step(*((x, y) if parts == 1 else (values(x), values(y))))
    after = model.get_weights()
    assert max(np.abs(now - then).max() for now, then in zip(after, before, strict=True)) > 1e-3
    return after
