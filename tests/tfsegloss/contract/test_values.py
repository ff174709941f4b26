"""What holds for the value and the gradient of every loss, whatever its formula."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tfsegloss.losses_under_test import (
    CLASSES,
    IGNORED,
    REGION_PARTS,
    activation,
    example,
    step_of,
    value_and_gradient,
)
from tfsegloss import LADLoss, PixelLoss

LOW_PRECISION = [tf.float16, tf.bfloat16]
low_precision = pytest.mark.parametrize("dtype", LOW_PRECISION, ids=lambda dtype: dtype.name)


def hostile():
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


@pytest.mark.parametrize("case", hostile(), ids=lambda case: case[0])
def test_hostile_input_gives_finite_value_and_gradient(make, case):
    _, ids, logits = case
    value, gradient = value_and_gradient(make(), ids, logits)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@low_precision
def test_hostile_input_of_low_precision(make, dtype):
    for case, ids, logits in hostile():
        value, gradient = value_and_gradient(make(), ids, tf.cast(logits, dtype))
        assert np.isfinite(value), case
        assert gradient.dtype == dtype.as_numpy_dtype
        assert np.isfinite(gradient.astype(np.float32)).all(), case


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


def test_every_part_has_a_gradient(make):
    """So that none of the tests here looks at a term that is constant."""
    ids, logits = example()
    loss, logits = make(), tf.constant(logits)
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
    np.testing.assert_allclose(make()(ids, logits), tf.reduce_mean(values), rtol=1e-6)


def test_value_and_parts_are_the_call_and_the_parts(make):
    ids, logits = example()
    for reduction in ("sum_over_batch_size", "sum", "none"):
        loss = make(reduction=reduction)
        value, parts = loss.value_and_parts(ids, logits)
        np.testing.assert_array_equal(value, loss(ids, logits))
        assert parts == loss.parts(ids, logits)


@pytest.mark.parametrize("junk", [7.0, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("from_logits", [True, False])
def test_ignored_pixels_change_neither_value_nor_gradient(make, junk, from_logits):
    ids, logits = example()
    logits = logits if from_logits else tf.sigmoid(logits).numpy()
    value, gradient = value_and_gradient(make(from_logits=from_logits), ids, logits)
    changed = np.where((ids == IGNORED)[..., None], np.float32(junk), logits)
    again = make(from_logits=from_logits)  # for a backward pass may move a loss' state
    value_changed, gradient_changed = value_and_gradient(again, ids, changed)
    assert value == value_changed
    np.testing.assert_array_equal(gradient, gradient_changed)
    assert (gradient[ids == IGNORED] == 0).all()
    assert (gradient[ids != IGNORED] != 0).any()


@pytest.mark.parametrize("ignored", [-1, [-1, 200], 2])
def test_any_ids_can_be_the_ignored_ones(make, ignored):
    ids, logits = example()
    ids[ids == 2] = IGNORED
    marks = np.resize(ignored, ids.shape)
    other = np.where(ids == IGNORED, marks, ids)
    expected = value_and_gradient(make(), ids, logits)
    actual = value_and_gradient(make(ignore_class=ignored), other, logits)
    np.testing.assert_array_equal(actual[0], expected[0])
    np.testing.assert_array_equal(actual[1], expected[1])


def test_without_ignored_class_every_pixel_counts(make):
    ids, logits = example(ignored_share=0)
    assert make(ignore_class=None)(ids, logits) == make()(ids, logits)


@pytest.mark.parametrize("compiled", [False, True], ids=["graph", "xla"])
def test_graph_and_xla_equal_eager(make, compiled):
    ids, logits = example()
    step = tf.function(step_of(make()), jit_compile=compiled)
    value, gradient = step(ids, tf.constant(logits))
    expected_value, expected_gradient = value_and_gradient(make(), ids, logits)
    np.testing.assert_allclose(value, expected_value, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-6)


def test_a_tape_around_a_graph(make_kind):
    ids, logits = example()
    loss = make_kind()
    loss.build(CLASSES)
    _, expected = value_and_gradient(make_kind(), ids, logits)
    _, actual = value_and_gradient(tf.function(loss.__call__), ids, logits)
    np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_dynamic_shapes(make):
    loss = make()
    signature = [
        tf.TensorSpec([None, None, None], tf.uint8),
        tf.TensorSpec([None, None, None, CLASSES], tf.float32),
    ]
    step = tf.function(lambda ids, logits: loss(ids, logits), input_signature=signature)
    for shape in [(2, 13, 11), (1, 1, 1), (3, 9, 20)]:
        ids, logits = example(shape)
        np.testing.assert_allclose(step(ids.astype(np.uint8), logits), loss(ids, logits), rtol=1e-5)


def test_probabilities_equal_logits(make):
    ids, logits = example()
    loss = make(from_logits=False)
    if activation(loss) == "softmax":  # probabilities tell logits but for a number per pixel
        logits = tf.nn.log_softmax(logits)
        value = loss(ids, tf.nn.softmax(logits))
    else:
        value = loss(ids, tf.sigmoid(logits))
    np.testing.assert_allclose(value, make()(ids, logits), rtol=1e-4)


def test_probabilities_of_zero_and_one_are_clipped(make):
    ids, _ = example()
    wrong = np.eye(CLASSES, dtype=np.float32)[(np.where(ids == IGNORED, 0, ids) + 1) % CLASSES]
    value, gradient = value_and_gradient(make(from_logits=False), ids, wrong)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_better_prediction_lower_loss(make):
    ids, _ = example((1, 24, 24))
    truth = np.eye(CLASSES, dtype=np.float32)[np.where(ids == IGNORED, 0, ids)]
    values = [float(make()(ids, (truth * 2 - 1) * scale)) for scale in (-3, 0, 3)]
    assert values[0] > values[1] > values[2]


@low_precision
def test_low_precision_logits_are_computed_in_float32(make, dtype):
    ids, logits = example()
    logits = tf.cast(logits, dtype)
    value, gradient = value_and_gradient(make(), ids, logits)
    expected, expected_gradient = value_and_gradient(make(), ids, tf.cast(logits, tf.float32))
    assert value == expected
    assert gradient.dtype == dtype.as_numpy_dtype
    np.testing.assert_allclose(
        gradient.astype(np.float32), expected_gradient, atol=0.01 * abs(expected_gradient).max()
    )


def test_float64_stays_float64(make, float64):
    ids, logits = example()
    assert make()(ids, logits.astype(np.float64)).dtype == tf.float64


def test_ids_with_a_last_axis_and_ids_as_floats(make):
    ids, logits = example()
    expected = make()(ids, logits)
    assert make()(ids[..., None], logits) == expected
    assert make()(ids.astype(np.float32), logits) == expected
    assert make()(ids.astype(np.uint8), logits) == expected


def test_one_hot_equals_ids(make):
    ids, logits = example()
    dense = tf.one_hot(ids, CLASSES).numpy()  # ignored ids become 0, 0, 0
    if activation(make()) == "sigmoid":  # where no class is an answer, not the lack of one
        dense[ids == IGNORED] = IGNORED
    value, gradient = value_and_gradient(make(), dense, logits)
    expected, expected_gradient = value_and_gradient(make(), ids, logits)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    scale = abs(expected_gradient).max()
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-5 * scale)


def test_weights_of_pixels_equal_to_one_change_nothing(make):
    ids, logits = example()
    weights = np.ones(ids.shape, np.float32)
    assert make()(ids, logits, weights) == make()(ids, logits)
    assert make()(ids, logits, weights[..., None]) == make()(ids, logits)


def test_weights_of_pixels_reach_all_but_the_regions(make):
    ids, logits = example()
    weights = np.full(ids.shape, 2, np.float32)
    once, twice = make().parts(ids, logits), make().parts(ids, logits, weights)
    assert once.keys() == twice.keys()
    for name, part in once.items():
        factor = 1 if name in REGION_PARTS else 2
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


def test_the_weight_of_an_ignored_pixel_may_be_nan(make):
    ids, logits = example()
    weights = np.random.default_rng(0).random(ids.shape).astype(np.float32)
    expected, expected_gradient = value_and_gradient(make(), ids, logits, weights)
    weights[ids == IGNORED] = np.nan
    value, gradient = value_and_gradient(make(), ids, logits, weights)
    assert value == expected
    np.testing.assert_array_equal(gradient, expected_gradient)


def test_weights_of_images_are_keras(make):
    ids, logits = example()
    values = make(reduction="none")(ids, logits)
    expected = (values[0] * 2 + values[1] * 0.5) / 2
    np.testing.assert_allclose(make()(ids, logits, [2.0, 0.5]), expected, rtol=1e-6)
