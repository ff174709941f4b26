"""What users do with losses beside training on full batches."""

import inspect

import numpy as np
import pytest
import tensorflow as tf

import tfsegloss
from tests import keras_versions
from tests.tfsegloss.examples import CLASSES, IGNORED, example
from tests.tfsegloss.grid import grid
from tests.tfsegloss.steps import DYNAMIC, step_of, value_and_gradient
from tests.tfsegloss.variants import VARIANTS
from tfsegloss.core.keras_versions import keras
from tfsegloss.core.options import option_names
from tfsegloss.losses import registry

LOOPS_OVER_IMAGES = ("LADLoss", "SSLLoss", "SSIMLoss", "RMILoss", "LovaszLoss/hinge")


@pytest.fixture
def weights():
    """Of the example's pixels."""
    return np.random.default_rng(0).uniform(0, 2, example()[0].shape).astype(np.float32)


@pytest.fixture(params=["float16", "bfloat16"])
def half_precision(request):
    """Keras in half precision for one test."""
    keras_versions.set_floatx(request.param)
    yield
    keras_versions.set_floatx("float32")


@pytest.fixture
def check_numerics():
    tf.debugging.enable_check_numerics()
    yield
    tf.debugging.disable_check_numerics()


def keras_cross_entropy(**options):
    return keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=IGNORED, **options
    )


@pytest.mark.usefixtures("half_precision")
def test_labels_and_values_are_exact_where_keras_is_in_half_precision():
    """4099 is 4100 in float16, and 301 is 300 in bfloat16: classes beside them."""
    ids = np.array([[[301, 4099]]])
    logits = np.zeros([1, 1, 2, 4101], np.float32)
    logits[0, 0, 0, 300] = logits[0, 0, 1, 4100] = 80_000  # and float16 ends at 65,504
    value = tfsegloss.SoftmaxCrossEntropy(ignore_class=None)(ids, logits)
    assert value.dtype == tf.float32
    assert float(value) == 80_000


@pytest.mark.usefixtures("half_precision")
def test_a_sum_with_a_loss_of_keras_is_float32_where_keras_is_in_half_precision():
    ids, logits = example()
    total = tfsegloss.SoftmaxCrossEntropy() + keras_cross_entropy()
    value, parts = total.value_and_parts(ids, logits)
    ours, theirs = parts.values()
    assert {number.dtype for number in (value, ours, theirs, total(ids, logits))} == {tf.float32}
    assert float(theirs) == pytest.approx(float(ours), rel=0.05)


def test_the_mean_with_sample_weight_is_that_of_keras(weights):
    """Σ w ℓ / Σ w over the valid pixels."""
    ids, logits = example()
    options = {"reduction": "mean_with_sample_weight"}
    ours = tfsegloss.SoftmaxCrossEntropy(**options)(ids, logits, weights)
    # Keras counts the weights of ignored pixels in.
    expected = keras_cross_entropy(**options)(ids, logits, np.where(ids == IGNORED, 0, weights))
    assert float(ours) == pytest.approx(float(expected), rel=1e-6)


def test_weights_of_images_reach_a_keras_loss_in_a_sum():
    """Keras takes weights `[B]` for those of the columns, of which there are as many."""
    ids, logits = example((4, 9, 4))
    weights = np.array([0.0, 1.0, 2.0, 5.0], np.float32)
    loss = tfsegloss.WeightedLosses({"ce": (1.0, keras_cross_entropy(reduction="sum"))})
    expected = keras_cross_entropy(reduction="sum")(ids, logits, weights[:, None, None])
    assert float(loss(ids, logits, weights)) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("loss", [tfsegloss.LADLoss(), tfsegloss.LMPLoss(), tfsegloss.RMILoss()])
def test_negative_weights_of_pixels_are_refused(loss, weights):
    ids, logits = example()
    weights[0, 0, 0] = -0.5
    ids[0, 0, 0] = 1
    with pytest.raises(ValueError, match="`sample_weight` must be ≥ 0. Received a weight of -0.5"):
        loss(ids, logits, weights)
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be ≥ 0"):
        tf.function(loss.__call__)(ids, logits, weights)


def test_a_negative_weight_of_a_pixel_is_nan_under_xla(weights):
    """In the gradient too, by which the pixel's loss would rise."""
    ids, logits = (tf.constant(part) for part in example())
    weights[ids != IGNORED] = -0.5
    step = tf.function(step_of(tfsegloss.SoftmaxCrossEntropy()), jit_compile=True)
    value, gradient = step(ids, logits, tf.constant(weights))
    assert np.isnan(value)
    assert np.isnan(gradient[ids != IGNORED]).all()


def test_a_weight_of_a_pixel_that_is_no_number_is_refused(weights):
    ids, logits = example()
    weights[ids != IGNORED] = np.nan
    with pytest.raises(ValueError, match="must be ≥ 0. Received a weight of nan"):
        tfsegloss.SoftmaxCrossEntropy()(ids, logits, weights)


def test_negative_weights_of_ignored_pixels_mean_nothing(weights):
    ids, logits = example()
    loss = tfsegloss.SoftmaxCrossEntropy()
    signed = np.where(ids == IGNORED, -1, weights)
    assert float(loss(ids, logits, signed)) == float(loss(ids, logits, weights))


def test_an_empty_batch_has_no_values(make):
    ids, logits = (part[:0] for part in example())
    values, gradient = value_and_gradient(make(reduction="none"), ids, logits)
    assert values.shape == (0,)
    assert gradient.shape == logits.shape


@pytest.mark.parametrize("is_sum", [False, True])
def test_an_empty_batch_is_0_in_all_parts(is_sum):
    ids, logits = example()
    loss = tfsegloss.RMILoss() + keras_cross_entropy() if is_sum else tfsegloss.RMILoss()
    value = loss(ids[:0], logits[:0])
    same, parts = loss.value_and_parts(ids[:0], logits[:0])
    assert set(parts) == set(loss.parts(ids, logits))
    assert [float(number) for number in (value, same, *parts.values())] == [0] * (2 + len(parts))


@pytest.mark.parametrize("images", ["of one size", "of any size"])
@grid(lambda make: make in LOOPS_OVER_IMAGES, make=VARIANTS)
def test_a_graph_for_batches_of_any_size_takes_an_empty_one(make, images):
    """As a replica gets where there are fewer images than replicas."""
    ids, logits = example()
    loss = make()
    loss.build(CLASSES)
    batch = [tf.TensorSpec([None, *part.shape[1:]], part.dtype) for part in (ids, logits)]

    @tf.function(input_signature=batch if images == "of one size" else DYNAMIC)
    def step(ids, logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value, parts = loss.value_and_parts(ids, logits)
        return value, parts, tape.gradient(value, logits)

    value, parts, gradient = step(ids[:0], logits[:0])
    assert [float(number) for number in (value, *parts.values())] == [0] * (1 + len(parts))
    assert gradient.shape == (0, *logits.shape[1:])


def test_recomputed_gradients_are_the_same(make):
    ids, logits = example()
    loss = make()
    loss.build(CLASSES)
    recomputed = tf.recompute_grad(lambda x: loss(ids, x))
    _, gradient = value_and_gradient(lambda _ids, x, _weights: recomputed(x), ids, logits)
    np.testing.assert_allclose(gradient, make.expected[1], atol=1e-7)


@grid(lambda make: make in ("LMPLoss", "SoftmaxCrossEntropy"), make=VARIANTS)
def test_checks_of_numerics_find_nothing(make, check_numerics):
    """Nor in a graph, but for XLA, which cannot run them."""
    ids, logits = example()
    loss = make()
    loss.build(CLASSES)
    value_and_gradient(loss, ids, logits)
    specs = [tf.TensorSpec([None] * 3, tf.int32), tf.TensorSpec([None] * 3 + [CLASSES])]
    tf.function(loss.__call__, input_signature=specs)(ids, logits)


def test_a_loss_of_ones_own_may_hand_its_options_on():
    class Steep(tfsegloss.PixelLoss):
        activation = "softmax"

        def __init__(self, steepness=2.0, **options):
            super().__init__(**options)
            self.steepness = steepness

    config = Steep(steepness=3.0, ignore_class=7).get_config()
    assert (config["steepness"], config["ignore_class"]) == (3.0, 7)
    assert Steep.from_config(config).get_config() == config


@pytest.mark.parametrize("loss", registry.LOSSES.values(), ids=registry.LOSSES)
def test_class_weights_are_taken_or_it_is_said_where_they_go(loss):
    if "class_weights" in option_names(loss):
        assert loss(class_weights=[1, 2]).class_weights == [1.0, 2.0]
        return
    with pytest.raises(TypeError, match=rf"{loss.__name__} has no `class_weights`\. Add a loss of"):
        loss(class_weights=[1, 2])
    with pytest.raises(TypeError, match="unexpected keyword argument 'classweights'"):
        loss(classweights=[1, 2])
    assert "region_size" in inspect.signature(tfsegloss.RMILoss).parameters


def test_the_name_of_a_loss_is_not_that_of_a_part():
    with pytest.raises(ValueError, match="names without '/'. Received: 'rmi/region'"):
        tfsegloss.WeightedLosses(
            {
                "rmi": (1.0, tfsegloss.RMILoss()),
                "rmi/region": (1.0, tfsegloss.SoftmaxCrossEntropy()),
            }
        )
