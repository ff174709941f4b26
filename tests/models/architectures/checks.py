"""What holds for every architecture on every backbone."""

import keras
import numpy as np
import tensorflow as tf

from tests.models.networks import CLASSES, batch_norm_layers, build

SIDES = ((1, 1), (7, 5), (33, 41), (64, 96))


def check_sizes(model, images):
    for sides in SIDES:
        logits = model(images(2, *sides, 3))
        assert logits.shape == (2, *sides, CLASSES)
        assert logits.dtype == tf.float32
        assert np.isfinite(logits).all()


def check_mixed_precision(policy, x, architecture, *, backbone, **options):
    """Check it on a backbone by name, or on one that a function makes."""
    keras.config.set_dtype_policy(policy)  # before the backbone's layers are made
    backbone = backbone() if callable(backbone) else backbone
    model = build(architecture, backbone=backbone, **options)
    with tf.GradientTape() as tape:
        logits = model(x, training=True)
        value = tf.reduce_mean(tf.square(logits - 1))
    assert logits.dtype == tf.float32
    for gradient in tape.gradient(value, model.trainable_variables):
        assert np.isfinite(gradient).all()
    return model, logits


def train(model, x):
    """Take one step; the momentum is such that statistics would move."""
    with tf.GradientTape() as tape:
        value = tf.reduce_mean(tf.square(model(x, training=True) - 1))
    gradients = tape.gradient(value, model.trainable_variables)
    keras.optimizers.SGD(0.1).apply(gradients, model.trainable_variables)


def check_frozen_batch_norm(freeze, x, *arguments, **options):
    model = build(*arguments, freeze_batch_norm=freeze, batch_norm_momentum=0.5, **options)
    layers = batch_norm_layers(model)
    before = [layer.get_weights() for layer in layers]
    train(model, x)
    for layer, weights in zip(layers, before, strict=True):
        gamma, beta, mean, variance = (
            not np.array_equal(now, then)
            for now, then in zip(layer.get_weights(), weights, strict=True)
        )
        assert (mean, variance) == (freeze is False, freeze is False), layer.name
        assert beta == (freeze != "all"), layer.name
        assert freeze != "all" or not gamma, layer.name
    assert all(layer.trainable for layer in layers) == (freeze != "all")


def check_frozen_statistics(freeze, tmp_path, images, **options):
    """Check that a second stage starts where the first ended, and computes the same in training."""
    first = build("deeplab_v2", **options)
    x = images(2, 33, 33, 3)
    train(first, x)
    first.save_weights(tmp_path / "first.weights.h5")
    model = build(
        "deeplab_v2", freeze_batch_norm=freeze, weights=tmp_path / "first.weights.h5", **options
    )
    np.testing.assert_array_equal(model(x), first(x))
    np.testing.assert_array_equal(model(x, training=True), model(x, training=False))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x, training=True), model(x))
    assert len(loaded.trainable_variables) == len(model.trainable_variables)


def check_training_saving_loading(tmp_path, images, *arguments, **options):
    model = build(*arguments, **options)
    x = images(2, 33, 41, 3)
    train(model, x)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))


def check_export(model, tmp_path, images):
    model.export(tmp_path / "saved", verbose=False)
    saved = tf.saved_model.load(tmp_path / "saved")
    for sides in ((33, 41), (64, 32)):
        x = images(1, *sides, 3)
        np.testing.assert_allclose(saved.serve(x), model(x), atol=1e-5)


def check_deconvolution(model, stride, images):
    """Check that the logits are at first those of bilinear resizing."""
    corners = any(layer.name == "padding" and layer.remainder for layer in model.layers)
    size = 97 if corners else 96
    x = images(1, size, size, 3)
    small = keras.Model(model.input, model.get_layer("logits").output)(x)
    if corners:
        fixed = tf.compat.v1.image.resize(small, (size, size), align_corners=True)
    else:
        fixed = tf.image.resize(small, (size, size))
    # Where features lie inside of cells, the border half a cell wide fades to 0.
    inner = slice(None) if corners else slice(stride // 2, -stride // 2)
    np.testing.assert_allclose(
        model(x)[:, inner, inner], fixed[:, inner, inner], atol=1e-5 * np.abs(fixed).max()
    )
    assert any("deconvolution" in weight.path for weight in model.trainable_variables)
