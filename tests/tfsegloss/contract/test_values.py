"""What holds for the value and the gradient of every loss, whatever its formula."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tfsegloss.examples import CLASSES, IGNORED, example
from tests.tfsegloss.steps import value_and_gradient
from tests.tfsegloss.variants import REGION_PARTS
from tfsegloss import LADLoss, PixelLoss, TverskyLoss


def test_without_labels_the_loss_is_zero(make):
    ids, logits = example((2, 9, 9))
    loss = make()
    nothing = np.full_like(ids, IGNORED)
    _, gradient = value_and_gradient(loss, nothing, logits)
    assert not gradient.any()
    for name, part in make().parts(nothing, logits).items():
        if name != "region":
            assert part == 0, name
            continue
        # The information of no region about no region: M = 0 in log det(M + εI).
        np.testing.assert_allclose(part, CLASSES * np.log(loss.epsilon) / 2, rtol=1e-4)


def test_every_part_has_a_gradient(make_variant):
    """So that none of the tests here looks at a term that is constant."""
    ids, logits = example()
    loss, logits = make_variant(), tf.constant(logits)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        parts = loss.parts(ids, logits)
    for name, part in parts.items():
        gradient = tape.gradient(part, logits).numpy()
        # Of each image, and by more than rounding.
        assert (abs(gradient).max((1, 2, 3)) > 1e-5).all(), name


def test_one_float32_number_per_image(make):
    ids, logits = example()
    values = make(reduction="none")(ids, logits)
    assert values.shape == (2,)
    assert values.dtype == tf.float32
    np.testing.assert_allclose(make.expected[0], tf.reduce_mean(values), rtol=1e-6)


def test_value_and_parts_are_the_call_and_the_parts(make_few):
    ids, logits = example()
    for reduction in ("sum_over_batch_size", "sum", "none"):
        loss = make_few(reduction=reduction)
        value, parts = loss.value_and_parts(ids, logits)
        np.testing.assert_array_equal(value, loss(ids, logits))
        assert parts == loss.parts(ids, logits)


def test_parts_are_numbers_that_are_finite(make):
    parts = make().parts(*example())
    assert parts
    for name, part in parts.items():
        assert part.shape == (), name
        assert np.isfinite(part), name


@pytest.mark.parametrize("ignored", [-1, [-1, 200], 2])
def test_any_ids_can_be_the_ignored_ones(make_few, ignored):
    ids, logits = example()
    ids[ids == 2] = IGNORED
    marks = np.resize(ignored, ids.shape)
    other = np.where(ids == IGNORED, marks, ids)
    expected = value_and_gradient(make_few(), ids, logits)
    actual = value_and_gradient(make_few(ignore_class=ignored), other, logits)
    np.testing.assert_array_equal(actual[0], expected[0])
    np.testing.assert_array_equal(actual[1], expected[1])


def test_without_ignored_class_every_pixel_counts(make_few):
    ids, logits = example(ignored_share=0)
    assert make_few(ignore_class=None)(ids, logits) == make_few()(ids, logits)


def test_probabilities_equal_logits(make):
    ids, logits = example()
    loss = make(from_logits=False)
    if loss.activation == "softmax":  # probabilities tell logits but for a number per pixel
        logits = tf.nn.log_softmax(logits)
        value = loss(ids, tf.nn.softmax(logits))
    else:
        value = loss(ids, tf.sigmoid(logits))
    np.testing.assert_allclose(value, make()(ids, logits), rtol=1e-4)


def test_probabilities_of_zero_and_one_are_clipped(make_few):
    ids, _ = example()
    wrong = np.eye(CLASSES, dtype=np.float32)[(np.where(ids == IGNORED, 0, ids) + 1) % CLASSES]
    value, gradient = value_and_gradient(make_few(from_logits=False), ids, wrong)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_better_prediction_lower_loss(make):
    ids, _ = example((1, 24, 24))
    truth = np.eye(CLASSES, dtype=np.float32)[np.where(ids == IGNORED, 0, ids)]
    values = [float(make()(ids, (truth * 2 - 1) * scale)) for scale in (-3, 0, 3)]
    assert values[0] > values[1] > values[2]


def test_ids_with_a_last_axis_and_ids_as_floats(make_few):
    ids, logits = example()
    expected, _ = make_few.expected
    assert make_few()(ids[..., None], logits) == expected
    assert make_few()(ids.astype(np.float32), logits) == expected
    assert make_few()(ids.astype(np.uint8), logits) == expected


def test_one_hot_equals_ids(make):
    ids, logits = example()
    dense = tf.one_hot(ids, CLASSES).numpy()  # ignored ids become 0, 0, 0
    if make().activation == "sigmoid":  # where no class is an answer, not the lack of one
        dense[ids == IGNORED] = IGNORED
    value, gradient = value_and_gradient(make(), dense, logits)
    expected, expected_gradient = make.expected
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    scale = abs(expected_gradient).max()
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-5 * scale)


def test_weights_of_pixels_equal_to_one_change_nothing(make_few):
    ids, logits = example()
    weights = np.ones(ids.shape, np.float32)
    expected, _ = make_few.expected
    assert make_few()(ids, logits, weights) == expected
    assert make_few()(ids, logits, weights[..., None]) == expected


def test_weights_of_pixels_reach_all_but_the_regions(make):
    ids, logits = example()
    weights = np.full(ids.shape, 2, np.float32)
    once, twice = make().parts(ids, logits), make().parts(ids, logits, weights)
    assert once.keys() == twice.keys()
    power = make().gamma if isinstance(make(), TverskyLoss) else 1
    for name, part in once.items():
        factor = 1 if name in REGION_PARTS else 2**power
        np.testing.assert_allclose(twice[name], factor * part, rtol=1e-5, err_msg=name)


def test_a_pixel_of_weight_zero_has_no_gradient(make):
    loss = make()
    if not isinstance(loss, PixelLoss) or isinstance(loss, LADLoss):
        pytest.skip("its neighbors see it")
    ids, logits = example(ignored_share=0)
    weights = np.ones(ids.shape, np.float32)
    weights[0, 3, 4] = 0
    _, gradient = value_and_gradient(loss, ids, logits, weights)
    assert not gradient[0, 3, 4].any()
    assert gradient.any()


def test_weights_of_images_are_keras(make_few):
    ids, logits = example()
    values = make_few(reduction="none")(ids, logits)
    expected = (values[0] * 2 + values[1] * 0.5) / 2
    np.testing.assert_allclose(make_few()(ids, logits, [2.0, 0.5]), expected, rtol=1e-6)
