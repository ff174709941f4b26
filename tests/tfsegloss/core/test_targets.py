"""What counts as an id, and what is said of what is none."""

import numpy as np
import pytest
import tensorflow as tf

from tfsegloss import class_counts
from tfsegloss.core.targets import encode_targets, zero_ignored


@pytest.mark.parametrize("wrong", [3, -1, 2**31, 2**32 + 1])
def test_integers_that_are_no_ids_are_named_and_never_wrap_around(wrong):
    ids = tf.constant([[[0, wrong, 255]]], tf.int64)
    with pytest.raises(ValueError, match=rf"ids in \[0, 3\) or an ignored id.*ids: {wrong}"):
        encode_targets(ids, num_classes=3)


@pytest.mark.parametrize("wrong", [0.5, np.nan, np.inf])
def test_floats_that_are_no_ids_are_named(wrong):
    with pytest.raises(ValueError, match=f"Received ids: {wrong}"):
        encode_targets(tf.constant([[[0.0, wrong, 255.0]]]), num_classes=3)


@pytest.mark.parametrize(("wrong", "named"), [([7, -1], ["-1", "7"]), ([np.nan, 0], ["nan"])])
def test_a_graph_names_the_lowest_and_the_highest(wrong, named):
    ids = tf.constant([[[0.0, *wrong, 255.0]]])
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        tf.function(lambda y: encode_targets(y, num_classes=3).in_range)(ids)
    for name in ["must hold ids in [0, 3) or an ignored id ([255])", *named]:
        assert name in str(raised.value)


def test_an_ignored_id_is_ignored_only_as_itself():
    """int32 would make 255 of 2³² + 255."""
    with pytest.raises(ValueError, match=f"Received ids: {2**32 + 255}"):
        encode_targets(tf.constant([[[2**32 + 255]]], tf.int64), num_classes=3)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float16", "float32", "float64"])
def test_ids_of_every_number_type_are_the_same_targets(dtype):
    targets = encode_targets(tf.constant(np.array([[[0, 2, 255]]], dtype)), num_classes=3)
    assert targets.ids.numpy().tolist() == [[[0, 2, 0]]]
    assert targets.valid.numpy().tolist() == [[[True, True, False]]]


def test_without_ignored_ids_the_error_names_none():
    with pytest.raises(ValueError, match=r"must hold ids in \[0, 3\). Received ids: 255"):
        encode_targets(tf.constant([[[255]]]), num_classes=3, ignore_class=None)


def test_counts_refuse_what_losses_refuse():
    with pytest.raises(ValueError, match="Received ids"):
        class_counts(np.array([[2**32 + 1, 0]]), 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 4, 5)])
def test_ignored_values_are_those_of_where_and_so_is_the_gradient(dtype, shape):
    random = np.random.default_rng(0)
    valid = random.random((2, 3, 4)) < 0.5
    mask = np.broadcast_to(valid if len(shape) == 3 else valid[..., None], shape)
    junk = random.choice([np.nan, np.inf, -np.inf, -1e30, -0.0], shape)
    values = tf.constant(np.where(mask, random.normal(size=shape), junk), dtype)
    upstream = tf.constant(np.where(mask, random.normal(size=shape), junk), dtype)
    with tf.GradientTape() as tape:
        tape.watch(values)
        kept = zero_ignored(values, tf.constant(valid))
    np.testing.assert_array_equal(kept, np.where(mask, values, 0))
    gradient = tape.gradient(kept, values, upstream)
    np.testing.assert_array_equal(gradient, np.where(mask, upstream, 0))
