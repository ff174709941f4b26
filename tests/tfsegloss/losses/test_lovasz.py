"""The Lovász losses against the definition of the extension, set by set in float64."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tfsegloss import oracles
from tests.tfsegloss.examples import CLASSES, IGNORED, example
from tests.tfsegloss.steps import step_of, value_and_gradient
from tfsegloss import LovaszLoss, MeanIoU
from tfsegloss.losses.lovasz import jaccard_steps

ERRORS = {"softmax": oracles.lovasz_softmax_errors, "sigmoid": oracles.lovasz_hinge_errors}


@pytest.mark.parametrize("activation", ERRORS)
@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("classes", ["present", "all"])
def test_equals_the_definition(activation, per_image, classes):
    ids, logits = example((2, 5, 6))
    ids[ids == 2] = 1
    ids[0] = np.where(ids[0] == 1, 0, ids[0])
    losses = []
    for labels, x in zip(ids, logits, strict=True) if per_image else [(ids, logits)]:
        counted = labels != IGNORED
        labels, x = labels[counted], x[counted].astype(np.float64)
        present = [c for c in range(CLASSES) if classes == "all" or (labels == c).any()]
        errors = ERRORS[activation](labels, x)
        extensions = [oracles.lovasz_extension(errors[:, c], labels == c) for c in present]
        losses.append(np.mean(extensions))
    loss = LovaszLoss(activation=activation, per_image=per_image, classes=classes)
    np.testing.assert_allclose(loss(ids, logits), np.mean(losses), rtol=1e-6)


@pytest.mark.parametrize(
    ("activation", "per_image"),
    [
        ("softmax", True),
        pytest.param("softmax", False, marks=pytest.mark.full),
        pytest.param("sigmoid", True, marks=pytest.mark.full),
        ("sigmoid", False),
    ],
)
def test_gradient_equals_central_differences(activation, per_image, float64):
    ids, logits = example((2, 3, 4))
    loss = LovaszLoss(activation=activation, per_image=per_image)
    analytic, numeric = tf.test.compute_gradient(
        lambda x: loss(ids, x), [tf.constant(logits, tf.float64)], delta=1e-7
    )
    np.testing.assert_allclose(analytic[0], numeric[0], atol=1e-7)


def test_sure_decisions_cost_one_minus_their_mean_iou():
    ids, logits = example()
    metric = MeanIoU(CLASSES)
    metric.update_state(ids, logits)
    sure = (np.eye(CLASSES, dtype=np.float32)[logits.argmax(-1)] - 0.5) * 200
    np.testing.assert_allclose(LovaszLoss()(ids, sure), 1 - metric.result(), rtol=1e-6)


def test_steps_keep_their_digits_among_millions_of_pixels():
    """Differences of Jaccard indices in float32 would be multiples of 6e-8."""
    truth = np.arange(2_000_000) % 2 == 0
    steps = jaccard_steps(tf.constant(truth), tf.float32).numpy()
    left = truth.sum() - np.cumsum(truth) + truth  # before each mistake
    union = truth.sum() + np.cumsum(~truth) - ~truth
    expected = np.where(truth, 1 / union, left / (union * (union + 1.0)))
    np.testing.assert_allclose(steps, expected, rtol=1e-6)
    np.testing.assert_allclose(steps.sum(dtype=np.float64), 1, rtol=1e-6)


@pytest.mark.parametrize("shared", [False, True])
def test_ties_in_any_order_give_the_same_value(shared):
    ids, logits = example((1, 6, 6))
    logits = np.zeros_like(logits) if shared else np.round(logits)
    order = np.random.default_rng(0).permutation(36)
    mixed_ids = ids.reshape(1, -1)[:, order].reshape(ids.shape)
    mixed = logits.reshape(1, 36, -1)[:, order].reshape(logits.shape)
    np.testing.assert_allclose(LovaszLoss()(ids, logits), LovaszLoss()(mixed_ids, mixed), rtol=1e-6)


def test_dense_targets_are_rounded():
    ids, logits = example(ignored_share=0)
    soft = 0.2 + 0.6 * np.eye(CLASSES, dtype=np.float32)[ids]
    assert LovaszLoss()(soft, logits) == LovaszLoss()(ids, logits)


def test_an_image_of_background_counts_where_there_is_one_class():
    ids, logits = np.zeros([1, 2, 2], np.int32), np.zeros([1, 2, 2, 1], np.float32)
    logits[0, 0, 0] = 0.5
    value, gradient = value_and_gradient(LovaszLoss(activation="sigmoid"), ids, logits)
    assert value == 1.5  # the worst mistake is all of them
    np.testing.assert_array_equal(gradient.ravel(), [1, 0, 0, 0])


@pytest.mark.parametrize("per_image", [False, True])
def test_a_graph_of_any_shape_and_xla_equal_eager(per_image):
    loss = LovaszLoss(per_image=per_image)
    specs = [tf.TensorSpec([None] * 3, tf.int32), tf.TensorSpec([None] * 3 + [CLASSES])]
    dynamic = tf.function(step_of(loss), input_signature=specs)
    for shape in [(2, 7, 5), (1, 1, 1)]:
        ids, logits = map(tf.constant, example(shape))
        expected = value_and_gradient(loss, ids, logits)
        for step in (dynamic, tf.function(step_of(loss), jit_compile=True)):
            for ours, theirs in zip(step(ids, logits), expected, strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
