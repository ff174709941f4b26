"""What losses say of labels and shapes that are wrong, before any formula."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tfsegloss.examples import CLASSES, example
from tests.tfsegloss.steps import DYNAMIC, reusable_step


def one_wrong(wrong):
    ids, logits = example()
    ids[0, 3, 4] = wrong
    return ids, logits


@pytest.mark.parametrize("wrong", [-1, CLASSES, 200])
def test_id_out_of_range_is_named(make_few, wrong):
    with pytest.raises(ValueError, match=rf"\[0, {CLASSES}\).* {wrong}$"):
        make_few()(*one_wrong(wrong))


def test_what_is_wrong_is_named_in_a_graph(make_few):
    call = tf.function(make_few().__call__, input_signature=DYNAMIC)
    with pytest.raises(tf.errors.InvalidArgumentError, match="200"):
        call(*one_wrong(200))
    with pytest.raises(tf.errors.InvalidArgumentError, match="resize the logits"):
        call(np.zeros([1, 8, 8], np.int32), np.zeros([1, 4, 4, 3], np.float32))


def test_id_out_of_range_is_nan_under_xla(make_few):
    value, gradient = make_few.compiled_step(*one_wrong(CLASSES))
    assert np.isnan(value)
    assert np.isnan(gradient).any()  # or a step would be taken


def test_fraction_is_no_id(make_few):
    ids, logits = example()
    ids = ids.astype(np.float32)
    ids[0, 0, 0] = 0.5
    with pytest.raises(ValueError, match=r"0\.5"):
        make_few()(ids, logits)


@pytest.mark.parametrize(
    ("ids_shape", "logits_shape", "message"),
    [
        ((2, 8, 8), (2, 4, 4, 3), r"\(2, 8, 8\).*\(2, 4, 4, 3\)"),
        ((2, 8, 8), (2, 3, 8, 8), "channels_first"),
        ((2, 4, 8, 8), (2, 4, 8, 8, 3), "3-D"),
        ((2, 8), (2, 8, 8, 3), r"\(2, 8\)"),
        ((2, 8, 8, 4), (2, 8, 8, 3), r"\(2, 8, 8, 4\)"),
    ],
)
def test_wrong_shapes_are_named(make_few, ids_shape, logits_shape, message):
    with pytest.raises(ValueError, match=message):
        make_few()(np.zeros(ids_shape, np.int32), np.zeros(logits_shape, np.float32))


def test_one_class_is_for_sigmoids(make):
    ids = np.array([[[0, 1, 255]]])
    logits = np.zeros([1, 1, 3, 1], np.float32)
    loss = make()
    if getattr(loss, "class_weights", None):
        loss.class_weights = [1.0, 2.0]  # of the background and of the class
    if loss.activation == "softmax":
        with pytest.raises(
            ValueError, match=f"at least {loss.least_classes} classes.* a loss on sig"
        ):
            loss(ids, logits)
    else:
        assert np.isfinite(loss(ids, logits))


def test_softmax_output_with_from_logits_warns_once(make_few):
    ids, logits = example()
    loss = make_few()
    loss.build(CLASSES)  # a variable made in a graph has it traced twice
    with pytest.warns(UserWarning, match="from_logits=True") as caught:
        tf.function(lambda: loss(ids, tf.nn.softmax(logits))).get_concrete_function()
    losses = len(getattr(loss, "losses", [loss]))  # of a sum, each says so
    assert len([w for w in caught if "from_logits" in str(w.message)]) == losses


def test_logits_with_from_logits_false_are_refused(make_few):
    ids, logits = example()
    loss = make_few(from_logits=False)
    with pytest.raises(ValueError, match=r"probabilities in \[0, 1\] where .* values: -\d.*, \d"):
        loss(ids, logits)
    call = tf.function(loss.__call__, input_signature=DYNAMIC)
    with pytest.raises(tf.errors.InvalidArgumentError, match="for logits, leave that out"):
        call(ids, logits)


def test_logits_with_from_logits_false_are_nan_under_xla(make_few):
    value, gradient = reusable_step(make_few(from_logits=False), jit_compile=True)(*example())
    assert np.isnan(value)
    assert np.isnan(gradient).any()


def test_probabilities_beyond_0_and_1_by_rounding_are_taken(make_few):
    ids, logits = example()
    wider = tf.nn.softmax(8 * logits) * (1 + 2e-6) - 1e-6
    assert tf.reduce_max(wider) > 1
    assert np.isfinite(make_few(from_logits=False)(ids, wider))
