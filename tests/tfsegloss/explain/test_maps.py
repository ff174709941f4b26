"""The maps of every loss."""

import re

import numpy as np
import pytest
import tensorflow as tf

import tfsegloss
from tests.tfsegloss.examples import example
from tests.tfsegloss.steps import value_and_gradient
from tfsegloss.core.keras_versions import keras
from tfsegloss.explain import explain

IDS, LOGITS = (batch[0] for batch in example((1, 13, 11)))
IGNORED = IDS == 255
DTYPES = {"valid": "b", "agreement": "i", "hard": "i"}


def test_every_loss_has_finite_maps_that_are_zero_where_ignored(make):
    maps = explain(make(), IDS, LOGITS)
    assert {"valid", "gradient"} < maps.keys()
    assert any(name.endswith(("pixel_loss", "cross_entropy")) for name in maps)
    np.testing.assert_array_equal(maps["valid"], ~IGNORED)
    for name, values in maps.items():
        assert values.shape == IDS.shape, name
        assert values.dtype.kind == DTYPES.get(name.split("/")[-1], "f"), name
        assert np.isfinite(values).all(), name
        assert (values >= 0).all(), name
        assert (values[IGNORED] == 0).all(), name
        assert values.any(), name


def test_the_gradient_is_that_of_the_loss(make):
    gradient = value_and_gradient(make(), IDS[None], LOGITS[None])[1][0]
    norm = np.linalg.norm(gradient, axis=-1)
    np.testing.assert_allclose(explain(make(), IDS, LOGITS)["gradient"], norm, rtol=1e-5)


def test_a_batch_of_one_is_the_image(make_few):
    maps = explain(make_few(), IDS, LOGITS)
    batch = explain(make_few(), IDS[None], LOGITS[None])
    assert maps.keys() == batch.keys()
    for name, values in maps.items():
        np.testing.assert_array_equal(batch[name], values)


@pytest.mark.parametrize(
    "make_stateful",
    [
        tfsegloss.CenterLoss,
        lambda: tfsegloss.AffinityFieldLoss(downsample_factor=2, decay_steps=2),
        lambda: tfsegloss.WeightedLosses({"center": (1.0, tfsegloss.CenterLoss(weight=1.0))}),
    ],
)
def test_the_state_stays_and_is_seen(make_stateful):
    loss = make_stateful()
    first = explain(loss, IDS, LOGITS)["gradient"]
    assert loss.variables == [], "the copy alone makes variables"
    value_and_gradient(loss, IDS[None], LOGITS[None])  # moves them
    before = [variable.numpy() for variable in loss.variables]
    value = loss(IDS[None], LOGITS[None])
    assert np.any(before[0])
    moved = explain(loss, IDS, LOGITS)["gradient"]
    assert np.abs(moved - first).max() > 0, "the copy starts from the loss' state"
    for variable, array in zip(loss.variables, before, strict=True):
        np.testing.assert_array_equal(variable, array)
    assert loss(IDS[None], LOGITS[None]) == value


def test_lmp_weights_are_the_optimal_ones_times_their_number():
    maps = explain(tfsegloss.LMPLoss(p=1.5, fraction=0.3), IDS, LOGITS)
    losses, n = maps["pixel_loss"][~IGNORED], (~IGNORED).sum()
    expected = tfsegloss.optimal_weights(tf.constant(losses[None]), 1.5, 0.3)[0] * n
    np.testing.assert_allclose(maps["weights"][~IGNORED], expected, rtol=1e-5)


def test_weights_of_the_other_poolings():
    def weights(pooling):
        loss = tfsegloss.SoftmaxCrossEntropy(pooling=pooling)
        return explain(loss, IDS, LOGITS)

    maps = weights(tfsegloss.Minkowski(k=1))
    np.testing.assert_allclose(maps["weights"], ~IGNORED, rtol=1e-5)
    maps = weights(tfsegloss.TopK(fraction=0.25))
    n = (~IGNORED).sum()
    k = np.ceil(n / 4)
    highest = maps["pixel_loss"] >= np.sort(maps["pixel_loss"][~IGNORED])[-int(k)]
    np.testing.assert_allclose(maps["weights"], highest * n / k, rtol=1e-5)
    assert "weights" not in weights(None)


def test_weights_of_a_strided_loss_count_what_it_counts():
    loss = tfsegloss.LADLoss(kernel_size=3, stride=2, pooling=tfsegloss.Minkowski(k=1))
    counted = ~IGNORED & (np.indices(IDS.shape) % 2 == 0).all(axis=0)
    np.testing.assert_allclose(explain(loss, IDS, LOGITS)["weights"], counted, rtol=1e-5)


def test_agreement_is_a_count_of_neighbors():
    height, width = IDS.shape
    expected = np.zeros(IDS.shape, int)
    for i, j in np.argwhere(~IGNORED):
        for k in range(max(i - 2, 0), min(i + 3, height)):
            for m in range(max(j - 2, 0), min(j + 3, width)):
                expected[i, j] += IDS[k, m] == IDS[i, j]
    maps = explain(tfsegloss.LADLoss(kernel_size=5), IDS, LOGITS)
    np.testing.assert_array_equal(maps["agreement"], expected)


def test_hard_classes_and_differences_are_those_of_the_formula():
    loss = tfsegloss.SSLLoss(window_size=3, sigma=1.5, beta=0.2, stability=0.01)
    weights = np.exp(-(np.arange(-1, 2) ** 2) / (2 * 1.5**2))
    window = np.outer(weights, weights) / weights.sum() ** 2
    one_hot = np.eye(3)[np.where(IGNORED, 0, IDS)] * ~IGNORED[..., None]
    p = 1 / (1 + np.exp(-LOGITS.astype(float))) * ~IGNORED[..., None]

    def standardized(maps, i, j, c):
        patch = np.pad(maps[..., c], 1, mode="reflect")[i : i + 3, j : j + 3]
        mean = (window * patch).sum()
        deviation = np.sqrt(max((window * patch**2).sum() - mean**2, 0))
        return (maps[i, j, c] - mean + 0.01) / (deviation + 0.01)

    center = window[1, 1]
    highest = 2 * (1 - center) / (np.sqrt(center - center**2) + 0.01)
    hard, difference = np.zeros(IDS.shape, int), np.zeros(IDS.shape)
    for i, j in np.argwhere(~IGNORED):
        e = [abs(standardized(one_hot, i, j, c) - standardized(p, i, j, c)) for c in range(3)]
        hard[i, j], difference[i, j] = (np.array(e) > 0.2 * highest).sum(), max(e)
    maps = explain(loss, IDS, LOGITS)
    np.testing.assert_array_equal(maps["hard"], hard)
    np.testing.assert_allclose(maps["difference"], difference, rtol=1e-3, atol=1e-3)
    assert 0 < hard.sum() < 3 * (~IGNORED).sum()


@pytest.mark.parametrize(
    ("loss", "cross_entropy"),
    [
        (tfsegloss.RMILoss, tfsegloss.SigmoidCrossEntropy),
        (tfsegloss.SSLLoss, tfsegloss.SigmoidCrossEntropy),
        (tfsegloss.SSIMLoss, tfsegloss.SigmoidCrossEntropy),
        (tfsegloss.AffinityFieldLoss, tfsegloss.SoftmaxCrossEntropy),
        (tfsegloss.CenterLoss, tfsegloss.SoftmaxCrossEntropy),
    ],
)
def test_what_is_more_than_pixel_losses_shows_the_cross_entropy(loss, cross_entropy):
    maps = explain(loss(), IDS, LOGITS)
    expected = explain(cross_entropy(), IDS, LOGITS)
    assert "pixel_loss" not in maps
    np.testing.assert_allclose(maps["cross_entropy"], expected["pixel_loss"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("make_loss", "activation"),
    [(tfsegloss.LMPLoss, tf.nn.softmax), (tfsegloss.SSLLoss, tf.sigmoid)],
)
def test_probabilities_are_explained_by_their_logits(make_loss, activation):
    expected = explain(make_loss(), IDS, LOGITS)
    maps = explain(make_loss(from_logits=False), IDS, activation(LOGITS))
    for name, values in expected.items():
        np.testing.assert_allclose(maps[name], values, rtol=1e-3, atol=1e-5, err_msg=name)


def test_a_sum_has_the_maps_of_its_parts():
    parts = {"ce": tfsegloss.SoftmaxCrossEntropy(), "lad": tfsegloss.LADLoss(ignore_class=None)}
    ids = np.where(IGNORED, 0, IDS)
    loss = tfsegloss.WeightedLosses({name: (0.5, part) for name, part in parts.items()})
    maps = explain(loss, ids, LOGITS)
    for name, part in parts.items():
        for key, values in explain(part, ids, LOGITS).items():
            if key not in ("valid", "gradient"):
                np.testing.assert_array_equal(maps[f"{name}/{key}"], values)
    gradient = value_and_gradient(loss, ids[None], LOGITS[None])[1][0]
    np.testing.assert_allclose(maps["gradient"], np.linalg.norm(gradient, axis=-1), rtol=1e-5)


def test_a_sum_of_other_losses_has_a_gradient():
    keras_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    loss = tfsegloss.WeightedLosses({"keras": (2.0, keras_loss)})
    maps = explain(loss, np.where(IGNORED, 0, IDS), LOGITS)
    assert maps.keys() == {"valid", "gradient"}
    assert maps["valid"].all()
    assert (maps["gradient"] > 0).all()


def test_wrong_shapes_and_labels_are_named():
    loss = tfsegloss.LMPLoss()
    with pytest.raises(ValueError, match=r"\(1, height, width, classes\).*\(2, 13, 11, 3\)"):
        explain(loss, IDS, np.stack([LOGITS] * 2))
    with pytest.raises(ValueError, match="same batch, height and width"):
        explain(loss, IDS[:5], LOGITS)
    with pytest.raises(ValueError, match="Received ids: 7"):
        explain(loss, np.full_like(IDS, 7), LOGITS)


@pytest.mark.parametrize("shape", [(13, 11, 0), (0, 11, 3), (13, 0, 3), (0, 0, 0)])
def test_an_empty_prediction_is_named(shape):
    with pytest.raises(ValueError, match=re.escape(f"y_pred.shape={(1, *shape)}")):
        explain(tfsegloss.RMILoss(), np.zeros(shape[:2], int), np.zeros(shape))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_prediction_that_is_not_finite_is_named(make_few, value):
    logits = LOGITS.copy()
    logits[np.argwhere(~IGNORED)[:2, 0], np.argwhere(~IGNORED)[:2, 1], 1] = value
    total = np.count_nonzero(~IGNORED)
    with pytest.raises(ValueError, match=f"finite .* at 2 of {total} pixels"):
        explain(make_few(), IDS, logits)


def test_labels_of_another_size_are_named_as_they_came():
    with pytest.raises(ValueError, match=r"resize the logits.*y_true \(1, 4, 5\)"):
        explain(tfsegloss.SoftmaxCrossEntropy(), np.zeros([1, 4, 5]), np.zeros([1, 8, 10, 3]))
