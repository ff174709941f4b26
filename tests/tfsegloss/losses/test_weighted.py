"""The weighted sum: its value, its parts, what it passes on, and that it is stored."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tests.tfsegloss.examples import CLASSES, example
from tests.tfsegloss.steps import value_and_gradient
from tests.tfsegloss.unequal_replicas import SHARDS, on_replicas, unequal_batch
from tfsegloss import (
    CenterLoss,
    LMPLoss,
    RMILoss,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    WeightedLosses,
)
from tfsegloss.core.keras_versions import keras


def make(**options):
    return WeightedLosses(
        {
            "ce": (1.0, SoftmaxCrossEntropy(**options)),
            "rmi": (0.5, RMILoss(**options)),
            "lmp": (-0.25, LMPLoss(p=1.7, **options)),
        }
    )


@keras.saving.register_keras_serializable(package="tests")
class SquaredError(keras.losses.Loss):
    """Of somebody else, who knows nothing of ignored pixels."""

    def call(self, y_true, y_pred):
        one_hot = tf.one_hot(tf.cast(y_true, tf.int32), CLASSES, dtype=y_pred.dtype)
        return tf.reduce_mean((tf.nn.softmax(y_pred) - one_hot) ** 2, axis=-1)  # [B, H, W]


def by_hand(loss, ids, logits, sample_weight=None):
    value, gradient = 0, 0
    for weight, part in loss.losses.values():
        part_value, part_gradient = value_and_gradient(part, ids, logits, sample_weight)
        value, gradient = value + weight * part_value, gradient + weight * part_gradient
    return value, gradient


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "none"])
def test_value_and_gradient_are_the_weighted_sum(reduction):
    ids, logits = example()
    loss = make(reduction=reduction)
    assert loss.reduction == reduction
    value, gradient = value_and_gradient(loss, ids, logits)
    expected_value, expected_gradient = by_hand(loss, ids, logits)
    np.testing.assert_allclose(value, expected_value, rtol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-7)


@pytest.mark.parametrize("shape", [(2,), (2, 13, 11)], ids=["images", "pixels"])
def test_weights_of_samples_are_passed_on(shape):
    ids, logits = example()
    weights = np.random.default_rng(0).random(shape).astype(np.float32)
    loss = make()
    if len(shape) == 3:  # Keras itself cannot weigh the images of a loss [B, H, W]
        loss = WeightedLosses({**make().losses, "squared": (2.0, SquaredError())})
    expected, _ = by_hand(loss, ids, logits, weights)
    np.testing.assert_allclose(loss(ids, logits, weights), expected, rtol=1e-6)


def test_rmi_beside_cross_entropy_as_its_authors_also_weigh_it():
    """CE + λ RMI, λ = ½, with the region term of RMI alone."""
    ids, logits = example((2, 24, 24))
    ce, rmi = SigmoidCrossEntropy(), RMILoss(weight=0)
    loss = WeightedLosses({"ce": (1.0, ce), "rmi": (0.5, rmi)})
    expected = ce(ids, logits) + 0.5 * RMILoss().parts(ids, logits)["region"]
    np.testing.assert_allclose(loss(ids, logits), expected, rtol=1e-6)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "none"])
def test_parts_are_the_losses_and_their_parts(reduction):
    ids, logits = example()
    loss = make(reduction=reduction)
    value, parts = loss.value_and_parts(ids, logits)
    np.testing.assert_allclose(value, loss(ids, logits), rtol=1e-6)
    assert list(parts) == ["ce", "rmi", "rmi/cross_entropy", "rmi/region", "lmp"]
    for name, (_, part) in loss.losses.items():
        expected = tf.reduce_mean(part(ids, logits))
        np.testing.assert_allclose(parts[name], expected, rtol=1e-6)
    inner = loss.losses["rmi"][1].parts(ids, logits)
    for name, number in inner.items():
        np.testing.assert_allclose(parts[f"rmi/{name}"], number, rtol=1e-6)
    assert {n: float(v) for n, v in loss.parts(ids, logits).items()} == {
        n: float(v) for n, v in parts.items()
    }


def test_parts_see_the_weights_of_pixels():
    ids, logits = example()
    weights = np.random.default_rng(0).random(ids.shape).astype(np.float32)
    value, parts = make().value_and_parts(ids, logits, weights)
    np.testing.assert_allclose(value, make()(ids, logits, weights), rtol=1e-6)
    np.testing.assert_allclose(parts["ce"], SoftmaxCrossEntropy()(ids, logits, weights), rtol=1e-6)


def test_a_sum_in_a_sum_and_a_loss_of_keras():
    ids, logits = example(ignored_share=0)
    of_keras = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    loss = WeightedLosses({"ours": (2.0, make()), "keras": (3.0, of_keras)})
    value, parts = loss.value_and_parts(ids, logits)
    np.testing.assert_allclose(value, 2 * make()(ids, logits) + 3 * of_keras(ids, logits))
    np.testing.assert_allclose(parts["keras"], SoftmaxCrossEntropy()(ids, logits), rtol=1e-6)
    assert set(parts) == {"ours", "keras"} | {f"ours/{name}" for name in make().parts(ids, logits)}


def test_probabilities_and_one_hot_labels_with_dice_of_keras():
    ids, logits = example(ignored_share=0)
    y_true, p = tf.one_hot(ids, CLASSES), tf.nn.softmax(logits)
    ce, dice = SoftmaxCrossEntropy(from_logits=False), keras.losses.Dice(axis=(1, 2, 3))
    loss = WeightedLosses({"ce": (1.0, ce), "dice": (0.5, dice)})
    assert not loss.from_logits
    np.testing.assert_allclose(loss(y_true, p), ce(y_true, p) + 0.5 * dice(y_true, p), rtol=1e-6)


def test_config_round_trip_keeps_values():
    loss = WeightedLosses({**make().losses, "squared": (2.0, SquaredError())}, name="mine")
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(loss)))
    again = keras.saving.deserialize_keras_object(config)
    assert again.get_config() == loss.get_config()
    assert again.name == "mine"
    ids, logits = example()
    assert again(ids, logits) == loss(ids, logits)


@pytest.mark.usefixtures("without_clusters")
def test_variables_are_saved(tmp_path):
    loss = WeightedLosses(
        {"ce": (0.5, SoftmaxCrossEntropy()), "center": (1.0, CenterLoss(weight=0.1))}
    )
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(CLASSES, 3, padding="same")(inputs))
    model.compile(optimizer=keras.optimizers.SGD(0.01), loss=loss)
    ids, images = example((4, 12, 12))
    model.fit(images, ids, batch_size=2, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.evaluate(images, ids, verbose=0) == model.evaluate(images, ids, verbose=0)
    (centers,), (restored,) = loss.variables, again.loss.variables
    assert np.abs(centers).max() > 0
    np.testing.assert_array_equal(restored, centers)


def test_variables_are_those_of_the_losses():
    loss = WeightedLosses(
        {
            "center": (1.0, CenterLoss()),
            "squared": (1.0, SquaredError()),
            "inner": (1.0, WeightedLosses({"center": (1.0, CenterLoss())})),
        }
    )
    assert loss.variables == []
    loss.build(CLASSES)
    assert [v.shape for v in loss.variables] == [(CLASSES, CLASSES)] * 2


@pytest.mark.usefixtures("without_clusters")
@pytest.mark.parametrize(
    ("shards", "reduction"),
    [
        ("unequal", "sum_over_batch_size"),
        # A sum over images is no mean over the batch: it is exact for equal shards only.
        pytest.param("equal", "sum", marks=pytest.mark.full),
        pytest.param("equal", "sum_over_batch_size", marks=pytest.mark.full),
        pytest.param("unequal, one without labels", "sum_over_batch_size", marks=pytest.mark.full),
    ],
)
def test_two_replicas_equal_one(two_replicas, shards, reduction):
    """Step and parts, as for other losses."""
    first, labelled = SHARDS[shards]
    ids, logits = unequal_batch(first, labelled)
    loss = make(reduction=reduction)
    expected, expected_gradient = value_and_gradient(loss, ids, logits)
    expected_parts = loss.parts(ids, logits)

    @tf.function
    def step(ids, logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value, parts = loss.value_and_parts(ids, logits)
        return value, tape.gradient(value, logits), parts

    values, gradients, parts = zip(
        *on_replicas(two_replicas, step, first, ids, logits), strict=True
    )
    scale = abs(expected_gradient).max()
    np.testing.assert_allclose(np.concatenate(gradients), expected_gradient, atol=1e-5 * scale)
    np.testing.assert_allclose(sum(values), expected, rtol=1e-5)
    for name, part in expected_parts.items():
        # The losses themselves are reduced as the sum is, their parts are always means.
        combine = np.sum if reduction == "sum" and "/" not in name else np.mean
        actual = combine([replica_parts[name] for replica_parts in parts])
        np.testing.assert_allclose(actual, part, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ({}, "at least one loss"),
        ({"a": (np.inf, RMILoss())}, r"Received: a=\(inf"),
        ({"a": RMILoss()}, "Received: a=<"),
        ({"a": (1.0, "mse")}, r"Received: a=\(1.0, 'mse'\)"),
        (
            {"a": (1.0, RMILoss()), "b": (1.0, RMILoss(reduction="none"))},
            "the same `reduction`.*'a': 'sum_over_batch_size', 'b': 'none'",
        ),
        (
            {"a": (1.0, RMILoss()), "b": (1.0, RMILoss(from_logits=False))},
            "the same `from_logits`.*'a': True, 'b': False",
        ),
    ],
)
def test_bad_losses_are_named(losses, message):
    with pytest.raises(ValueError, match=message):
        WeightedLosses(losses)


def test_a_recipe_takes_it(tmp_path):
    from train.runs.configuration import configuration_parser, instantiate  # not under Keras 2

    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        """
        loss:
          class_path: tfsegloss.WeightedLosses
          init_args:
            losses:
              ce: [1.0, {class_path: tfsegloss.SigmoidCrossEntropy}]
              rmi: [0.5, {class_path: tfsegloss.RMILoss, init_args: {weight: 0}}]
        """
    )
    loss = instantiate(configuration_parser().parse_args([f"--config={recipe}"])).loss
    assert {name: weight for name, (weight, _) in loss.losses.items()} == {"ce": 1.0, "rmi": 0.5}
    assert loss.losses["rmi"][1].weight == 0


def test_maps_are_those_of_the_losses_by_their_names():
    ids, logits = example()
    maps = WeightedLosses(
        {
            "lmp": (1.0, LMPLoss()),
            "all": (0.5, SoftmaxCrossEntropy(ignore_class=[255, 1])),
            "keras": (1.0, keras.losses.SparseCategoricalCrossentropy(from_logits=True)),
        }
    ).maps(ids, logits)
    assert maps.keys() == {"valid", "lmp/pixel_loss", "lmp/weights", "all/pixel_loss"}
    np.testing.assert_array_equal(maps["valid"], ids != 255)
    expected = LMPLoss().maps(ids, logits)
    np.testing.assert_array_equal(maps["lmp/weights"], expected["weights"])


def test_without_reduction_losses_by_pixel_become_one_number_per_image():
    ids, logits = example(ignored_share=0)
    ours = SoftmaxCrossEntropy(reduction="none")
    theirs = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")
    both = WeightedLosses({"ours": (1.0, ours), "theirs": (1.0, theirs)})
    np.testing.assert_allclose(both(ids, logits), 2 * ours(ids, logits), rtol=1e-5)


def test_sums_and_multiples_of_losses_are_weighted_losses():
    ids, logits = example()
    ce, rmi, lmp = SoftmaxCrossEntropy(), RMILoss(name="region"), LMPLoss(name="hard_2")
    total = 2 * (ce + np.float32(0.5) * rmi) + lmp * -0.25
    weights = {name: weight for name, (weight, _) in total.losses.items()}
    assert weights == {"softmax_cross_entropy": 2.0, "region": 1.0, "hard_2": -0.25}
    expected = 2 * ce(ids, logits) + rmi(ids, logits) - 0.25 * lmp(ids, logits)
    np.testing.assert_allclose(total(ids, logits), expected, rtol=1e-6)


def test_sums_take_other_libraries_losses_on_both_sides_and_equal_names():
    hinge, ce = keras.losses.Hinge(name="hinge"), SoftmaxCrossEntropy(name="ce")
    assert list((hinge + ce).losses) == ["hinge", "ce"]
    assert list((ce + hinge).losses) == ["ce", "hinge"]
    assert list(sum([ce, ce, hinge, ce]).losses) == ["ce", "ce_2", "hinge", "ce_3"]


@pytest.mark.parametrize("other", ["ce", None, 1.0])
def test_only_losses_add_and_only_numbers_multiply(other):
    for loss in (RMILoss(), make()):
        with pytest.raises(TypeError, match=r"unsupported operand type\(s\) for \+"):
            loss + other
        with pytest.raises(TypeError, match=r"unsupported operand type\(s\) for \*"):
            loss * loss


def test_the_activation_is_the_one_its_losses_share():
    softmax, sigmoid, squared = SoftmaxCrossEntropy(), RMILoss(), SquaredError()
    assert (0.5 * softmax + squared + LMPLoss()).activation == "softmax"
    assert WeightedLosses({"in": (1.0, 2 * sigmoid), "b": (1.0, squared)}).activation == "sigmoid"
    mixed = softmax + sigmoid
    with pytest.raises(ValueError, match="`activation`.*'softmax', 'rmi_loss': 'sigmoid'"):
        assert not mixed.activation
    with pytest.raises(ValueError, match="`activation`.*'squared'"):
        assert not WeightedLosses({"squared": (1.0, squared)}).activation
    chosen = WeightedLosses(mixed.losses, activation="softmax")
    assert (0.5 * chosen).activation == "softmax"
    assert WeightedLosses({"in": (1.0, chosen), "lmp": (1.0, LMPLoss())}).activation == "softmax"
    assert WeightedLosses.from_config(chosen.get_config()).activation == "softmax"
    with pytest.raises(ValueError, match="`activation` must be one of"):
        WeightedLosses(mixed.losses, activation="relu")


def test_it_ignores_what_all_its_losses_ignore():
    def of(*ignored):
        return sum(SoftmaxCrossEntropy(ignore_class=ids) for ids in ignored).ignore_class

    assert of(255, 255) == 255
    assert of([255, 1], 255) == 255
    assert of([255, 1], [1, 255, 2]) == [1, 255]
    assert of(255, None) is None
