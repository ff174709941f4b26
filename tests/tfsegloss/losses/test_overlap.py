"""Tversky, Dice and Jaccard against loops in float64, and what is said of absent classes."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tfsegloss import oracles
from tests.tfsegloss.examples import CLASSES, IGNORED, example, soft_targets
from tests.tfsegloss.grid import grid
from tests.tfsegloss.steps import step_of, value_and_gradient
from tests.tfsegloss.unequal_replicas import on_replicas, unequal_batch
from tfsegloss import DiceLoss, JaccardLoss, TverskyLoss
from tfsegloss.core.keras_versions import keras
from tfsegloss.core.targets import encode_targets
from tfsegloss.losses.overlap import tversky

ACTIVATIONS = {"softmax": oracles.softmax, "sigmoid": oracles.sigmoid}
both = pytest.mark.parametrize("activation", ACTIVATIONS)


def expected_loss(ids, logits, activation, *, per_image=False, classes="present", **options):
    """Return the mean of the images' losses, or the loss of all their pixels."""
    p = ACTIVATIONS[activation](logits.astype(np.float64))
    groups = zip(ids, p, strict=True) if per_image else [(ids, p)]
    losses = []
    for labels, probabilities in groups:
        counted = labels != IGNORED
        losses.append(
            oracles.tversky(labels[counted], probabilities[counted], classes=classes, **options)
        )
    return np.mean(losses)


@both
@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("classes", ["present", "all"])
def test_equals_the_loop(activation, per_image, classes):
    ids, logits = example()
    ids[ids == 2] = 1  # the third class is absent
    ids[0] = np.where(ids[0] == 1, 0, ids[0])  # and in the first image the second one too
    how = {"per_image": per_image, "classes": classes, "activation": activation}
    for kind, options in (
        (TverskyLoss(alpha=0.2, beta=0.9, gamma=0.75, smooth=2.0, **how), (0.2, 0.9, 0.75, 2.0)),
        (DiceLoss(**how), (0.5, 0.5, 1.0, 1.0)),
        (JaccardLoss(smooth=0, **how), (1.0, 1.0, 1.0, 0.0)),
    ):
        names = ("alpha", "beta", "gamma", "smooth")
        expected = expected_loss(ids, logits, **how, **dict(zip(names, options, strict=True)))
        np.testing.assert_allclose(kind(ids, logits), expected, rtol=1e-6)


@both
@grid(lambda gamma, dense: not dense, gamma=[0.5, 1.0, 2.0], dense=[False, True])
def test_gradient_equals_central_differences(activation, gamma, dense):
    ids, logits = example((2, 3, 4), ignored_share=0)
    if dense:
        ids = soft_targets(ids.shape)
    targets = encode_targets(tf.constant(ids), CLASSES, dtype=tf.float64)

    def value(logits):
        return tversky(targets, logits, gamma=gamma, activation=activation)

    analytic, numeric = tf.test.compute_gradient(value, [tf.constant(logits, tf.float64)])
    np.testing.assert_allclose(analytic[0], numeric[0], atol=1e-8)


def test_dice_is_keras_dice_of_all_classes():
    """Which takes one-hot targets, all of whose pixels count."""
    ids, logits = example(ignored_share=0)
    truth, p = tf.one_hot(ids, CLASSES), tf.nn.softmax(logits)
    # Sums over the rank's last axis too, if not class by class.
    expected = [
        keras.losses.Dice(axis=None)(truth[..., c : c + 1], p[..., c : c + 1])
        for c in range(CLASSES)
    ]
    actual = DiceLoss(smooth=5e-8, classes="all")(ids, logits)
    np.testing.assert_allclose(actual, np.mean(expected), rtol=1e-6)


def test_a_wrong_and_a_right_prediction():
    ids = np.array([[[0, 1, 1, IGNORED]]])
    right = (np.eye(2, dtype=np.float32)[[[[0, 1, 1, 0]]]] * 2 - 1) * 50
    for kind in (TverskyLoss, DiceLoss, JaccardLoss):
        assert kind()(ids, right) == 0
        assert kind(smooth=0)(ids, -right) == 1


def test_an_absent_class_costs_nothing_or_what_is_taken_for_it():
    ids = np.zeros([1, 1, 4], np.int32)
    logits = np.zeros([1, 1, 4, 2], np.float32)  # of the absent class are 2 of 4 pixels
    assert JaccardLoss(smooth=0)(ids, logits) == 0.5  # 1 − 2/4
    assert JaccardLoss(smooth=0, classes="all")(ids, logits) == 0.75  # and 1
    np.testing.assert_allclose(JaccardLoss(classes="all")(ids, logits), (0.4 + 2 / 3) / 2)


@pytest.mark.parametrize("kind", [TverskyLoss, DiceLoss, JaccardLoss])
def test_an_image_of_background_counts_where_there_is_one_class(kind):
    """Or nothing would teach a network of one class that there may be none of it."""
    ids, logits = np.zeros([1, 2, 2], np.int32), np.zeros([1, 2, 2, 1], np.float32)
    value, gradient = value_and_gradient(kind(activation="sigmoid"), ids, logits)
    assert value > 0.3
    assert (gradient > 0).all()


def test_small_mistakes_keep_their_digits():
    """One minus an index that is almost one would be a multiple of 6e-8."""
    ids = np.tile([0, 1], [1, 100, 50])
    logits = 24 * np.eye(2, dtype=np.float32)[ids]
    mistake = 1 / (1 + np.exp(24.0))  # 4e-11
    value = TverskyLoss(alpha=1.0, beta=0.0, smooth=0)(ids, logits)
    np.testing.assert_allclose(value, mistake / (1 - mistake + mistake), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -0.1}, "`alpha` must be finite and ≥ 0.*-0.1"),
        ({"beta": float("nan")}, "`beta` must be finite and ≥ 0.*nan"),
        ({"gamma": 0}, "`gamma` must be above 0 and finite.*0"),
        ({"smooth": -1}, "`smooth` must be finite and ≥ 0.*-1"),
        ({"classes": "some"}, r"`classes` must be one of \['present', 'all'\].*'some'"),
        ({"activation": "relu"}, "`activation` must be one of.*'relu'"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        TverskyLoss(**options)


@pytest.mark.parametrize("weights", [[1, 1, 1, 1], [4, 4, 0, 0], [1, 2, 3, 4]])
def test_two_replicas_with_weights_of_images_have_the_gradient_of_one(two_replicas, weights):
    ids, logits = unequal_batch(2, 5)
    weights = np.array(weights, np.float32)
    loss = DiceLoss(reduction="sum")  # Keras 2 refuses a mean here
    step = step_of(loss)
    value, gradient = value_and_gradient(loss, ids, logits, weights)
    shards = on_replicas(two_replicas, step, 2, ids, logits, weights)
    np.testing.assert_allclose(sum(v.numpy() for v, _ in shards), value, rtol=1e-6)
    of_shards = np.concatenate([g.numpy() for _, g in shards])
    np.testing.assert_allclose(of_shards, gradient, atol=1e-7)
