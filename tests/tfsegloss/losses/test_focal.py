"""Focal loss against loops in float64, cross-entropy, and its corner cases."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from tests.tfsegloss import oracles
from tests.tfsegloss.examples import CLASSES, example, soft_targets
from tests.tfsegloss.grid import grid
from tests.tfsegloss.steps import value_and_gradient
from tfsegloss import FocalLoss, SigmoidCrossEntropy, SoftmaxCrossEntropy
from tfsegloss.core.targets import encode_targets
from tfsegloss.losses.focal import sigmoid_focal, softmax_focal

PIXEL_LOSSES = {
    "softmax": (softmax_focal, oracles.softmax_focal_pixel_loss),
    "sigmoid": (sigmoid_focal, oracles.sigmoid_focal_pixel_loss),
}
both = pytest.mark.parametrize("activation", PIXEL_LOSSES)


@both
@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (1.0, 0.5), (0.7, 5.0), (0.3, 0.0)])
def test_equals_the_loop(activation, alpha, gamma):
    ids, logits = example()
    oracle = functools.partial(PIXEL_LOSSES[activation][1], alpha=alpha, gamma=gamma)
    value = FocalLoss(alpha=alpha, gamma=gamma, activation=activation)(ids, logits)
    np.testing.assert_allclose(value, oracles.mean_over_valid(oracle, ids, logits), rtol=1e-6)


@both
@grid(lambda gamma, dense: gamma in (0.5, 2.0), gamma=[0.0, 0.5, 1.0, 2.0], dense=[False, True])
def test_gradient_equals_central_differences(activation, gamma, dense):
    ids, logits = example((1, 3, 4), ignored_share=0)
    if dense:
        ids = soft_targets(ids.shape)
    targets = encode_targets(tf.constant(ids), CLASSES, dtype=tf.float64)

    def value(logits):
        return tf.reduce_sum(PIXEL_LOSSES[activation][0](targets, logits, gamma=gamma))

    analytic, numeric = tf.test.compute_gradient(value, [tf.constant(logits, tf.float64)])
    np.testing.assert_allclose(analytic[0], numeric[0], atol=1e-7)


@pytest.mark.parametrize(
    ("options", "scale", "cross_entropy"),
    [
        ({"alpha": 1.0, "gamma": 0.0}, 1, SoftmaxCrossEntropy),
        ({"alpha": 0.5, "gamma": 0.0, "activation": "sigmoid"}, 2, SigmoidCrossEntropy),
    ],
)
@pytest.mark.parametrize("dense", [False, True])
def test_without_focus_it_is_cross_entropy(options, scale, cross_entropy, dense):
    ids, logits = example(ignored_share=0)
    if dense:
        ids = soft_targets(ids.shape).astype(np.float32)
    value, gradient = value_and_gradient(FocalLoss(**options), ids, logits)
    expected, expected_gradient = value_and_gradient(cross_entropy(), ids, logits)
    np.testing.assert_allclose(scale * value, expected, rtol=1e-6)
    np.testing.assert_allclose(scale * gradient, expected_gradient, atol=1e-8)


@both
def test_soft_targets_mix_the_losses_of_the_classes(activation):
    _, logits = example((1, 3, 4))
    shares = soft_targets(logits.shape[:3])
    focal, oracle = PIXEL_LOSSES[activation]
    targets = encode_targets(tf.constant(shares), CLASSES, dtype=tf.float64)
    actual = focal(targets, tf.constant(logits, tf.float64)).numpy()
    for i in np.ndindex(actual.shape):
        expected = sum(shares[i][c] * oracle(logits[i], c) for c in range(CLASSES))
        np.testing.assert_allclose(actual[i], expected, rtol=1e-6)


@both
@grid(
    lambda gamma, size, dense: size == 90 or gamma == 0.1,
    gamma=[0.1, 0.5, 3.0],
    size=[30.0, 90.0, 1e4],
    dense=[False, True],
)
def test_sure_predictions_have_a_finite_slope(activation, gamma, size, dense):
    """Where 1 − p is 0 in float32, (1 − p)^(γ − 1) would be infinite."""
    ids = np.array([[[0, 1, 2, 0]]])
    logits = np.float32(size) * (np.eye(CLASSES, dtype=np.float32)[[[[0, 1, 0, 1]]]] * 2 - 1)
    truth = np.eye(CLASSES, dtype=np.float32)[ids] if dense else ids
    loss = FocalLoss(alpha=1.0, gamma=gamma, activation=activation)
    value, gradient = value_and_gradient(loss, truth, logits)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(gradient[0, 0, 0], 0, atol=1e-4)  # right
    np.testing.assert_allclose(gradient[0, 0, 2, 2], -1 / 4, rtol=1e-4)  # wrong: as cross-entropy


def test_binary_segmentation():
    ids, logits = np.array([[[0, 1, 255]]]), np.array([[[[0.3], [-0.7], [9.0]]]], np.float32)
    p = 1 / (1 + np.exp([-0.3, 0.7]))
    expected = -(0.75 * p[0] ** 2 * np.log(1 - p[0]) + 0.25 * (1 - p[1]) ** 2 * np.log(p[1])) / 2
    np.testing.assert_allclose(FocalLoss(activation="sigmoid")(ids, logits), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.5}, r"`alpha` must be in \[0, 1\].*1.5"),
        ({"gamma": -1.0}, "`gamma` must be finite and ≥ 0.*-1.0"),
        ({"gamma": float("inf")}, "`gamma` must be finite and ≥ 0.*inf"),
        ({"activation": "relu"}, "`activation` must be one of.*'relu'"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        FocalLoss(**options)
