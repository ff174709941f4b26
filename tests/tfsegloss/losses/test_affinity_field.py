"""Affinity fields against RMI's authors' code, a loop over pairs, and their corner cases."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests import keras_versions
from tests.tfsegloss import oracles
from tests.tfsegloss.examples import CLASSES, example, soft_targets
from tests.tfsegloss.grid import grid
from tests.tfsegloss.steps import step_of, value_and_gradient
from tests.tfsegloss.unequal_replicas import SHARDS, on_replicas, unequal_batch
from tfsegloss import AffinityFieldLoss, SoftmaxCrossEntropy
from tfsegloss.core.keras_versions import keras
from tfsegloss.core.targets import encode_targets
from tfsegloss.losses.affinity_field import affinity_field

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.mark.parametrize("name", ["aaf_0", "aaf_15000"])
def test_equals_the_authors_code(name):
    (case,) = json.loads((GOLDEN / f"{name}.json").read_text())
    golden = np.load(GOLDEN / f"{name}.npz")
    loss = AffinityFieldLoss(decay_steps=30000)
    loss.build(case["shape"][-1])
    loss.variables[0].assign(case["step"])
    value, actual = value_and_gradient(loss, golden["0_labels"], golden["0_logits"])
    assert abs(value - case["value"]) <= 1e-5 * max(1, abs(case["value"]))
    gradient = golden["0_grad"]
    assert np.linalg.norm(actual - gradient) <= 1e-4 * np.linalg.norm(gradient)


@pytest.mark.parametrize("shape", [(2, 13, 11), (1, 8, 8), (1, 1, 5)])
@pytest.mark.parametrize(
    "options",
    [{"downsample_factor": 3}, {"downsample_factor": 1, "distance": 2, "margin": 1.0}, {}],
)
def test_equals_the_loop_over_pairs(shape, options):
    ids, logits = example(shape)
    parts = AffinityFieldLoss(**options).parts(ids, logits)
    edge, non_edge = oracles.affinity_field(ids, logits.astype(np.float64), **options)
    np.testing.assert_allclose(parts["edge"], edge, rtol=2e-5)
    np.testing.assert_allclose(parts["non_edge"], non_edge, rtol=2e-5)
    np.testing.assert_allclose(parts["cross_entropy"], SoftmaxCrossEntropy()(ids, logits))


@pytest.mark.usefixtures("without_clusters")
@grid(lambda factor: factor == 2, factor=[1, 2, 3])
def test_gradient_equals_central_differences(factor):
    ids, logits = example((1, 7, 6))
    targets = encode_targets(tf.constant(ids), CLASSES, dtype=tf.float64)

    @tf.function
    def value(logits):
        return tf.add_n(list(affinity_field(targets, logits, downsample_factor=factor).values()))

    analytic, numeric = tf.test.compute_gradient(value, [tf.constant(logits, tf.float64)])
    np.testing.assert_allclose(analytic[0], numeric[0], atol=1e-6)


@pytest.mark.full
@pytest.mark.parametrize("compiled", [False, True])
def test_gradient_in_graphs_of_any_shape(compiled):
    ids, logits = example((2, 19, 26))
    loss = AffinityFieldLoss(downsample_factor=3)
    _, expected = value_and_gradient(loss, ids, logits)

    def step(ids, logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(ids, logits)
        return tape.gradient(value, logits)

    shape = [None, None, None]
    signature = [tf.TensorSpec(shape, tf.int32), tf.TensorSpec([*shape, CLASSES], tf.float32)]
    step = tf.function(step, input_signature=signature, jit_compile=compiled)
    np.testing.assert_allclose(step(ids, logits), expected, atol=1e-7)


def test_weights_and_parts():
    ids, logits = example()
    loss = AffinityFieldLoss(edge_weight=0.3, non_edge_weight=2.0)
    parts = loss.parts(ids, logits)
    assert list(parts) == ["cross_entropy", "edge", "non_edge"]
    expected = parts["cross_entropy"] + 0.3 * parts["edge"] + 2 * parts["non_edge"]
    np.testing.assert_allclose(loss(ids, logits), expected, rtol=1e-6)


def test_edges_of_soft_targets_are_those_of_the_largest_shares():
    """And not of all neighbors whose shares differ."""
    ids, logits = example(ignored_share=0)
    soft = 0.6 * np.eye(CLASSES)[ids] + 0.4 * soft_targets(ids.shape)
    loss = AffinityFieldLoss(downsample_factor=2)
    parts, expected = loss.parts(soft, logits), loss.parts(ids, logits)
    assert (parts["edge"], parts["non_edge"]) == (expected["edge"], expected["non_edge"])
    np.testing.assert_allclose(parts["cross_entropy"], SoftmaxCrossEntropy()(soft, logits))


def test_a_pixel_without_a_class_is_none_of_the_first_class():
    """It counts, as it does where `ignore_class` is None, with t = 0 in all channels."""
    ids, logits = example((1, 5, 6), ignored_share=0)
    ids[:, 2, 2:] = -1
    truth = (ids[..., np.newaxis] == np.arange(CLASSES)).astype(np.float32)
    parts = AffinityFieldLoss(downsample_factor=1, ignore_class=None).parts(truth, logits)
    expected = oracles.affinity_field(ids, logits.astype(np.float64), downsample_factor=1)
    np.testing.assert_allclose([parts["edge"], parts["non_edge"]], expected, rtol=2e-5)


def test_no_pair_is_zero():
    """One class has edges at the border only; where the border is ignored, there is none."""
    ids, logits = np.full([1, 9, 9], 255), example((1, 9, 9))[1]
    ids[:, 4, 4] = 0  # all of its pairs touch an ignored pixel
    parts = AffinityFieldLoss(downsample_factor=1).parts(ids, logits)
    assert (parts["edge"], parts["non_edge"]) == (0, 0)
    ids[:, 3:6, 3:6] = 0
    loss = AffinityFieldLoss(downsample_factor=1)
    value, gradient = value_and_gradient(loss, ids, logits)
    assert loss.parts(ids, logits)["edge"] == 0
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_backward_passes_count_and_decay():
    ids, logits = example()
    loss = AffinityFieldLoss(decay_steps=4)
    undecayed = AffinityFieldLoss().parts(ids, logits)
    for passes in range(3):
        parts = loss.parts(ids, logits)  # a forward pass does not count
        for name in ("edge", "non_edge"):
            expected = undecayed[name] * 20 ** (-passes / 4)
            np.testing.assert_allclose(parts[name], expected, rtol=1e-6)
        assert loss.variables[0].numpy() == passes
        value_and_gradient(loss, ids, logits)
    assert AffinityFieldLoss().variables == []


@pytest.mark.usefixtures("without_clusters")
def test_two_replicas_count_a_step_once(two_replicas):
    loss = AffinityFieldLoss(decay_steps=10)
    with two_replicas.scope():
        loss.build(CLASSES)
    first, labelled = SHARDS["unequal"]
    step = tf.function(step_of(keras_versions.in_own_loop(loss)))
    on_replicas(two_replicas, step, first, *unequal_batch(first, labelled))
    for copy in two_replicas.experimental_local_results(loss.variables[0]):
        assert copy.numpy() == 1


@pytest.mark.usefixtures("without_clusters")
@grid(lambda replicas: replicas == 1, replicas=[1, 2])
def test_keras_counts_steps_and_keeps_the_count(tmp_path, two_replicas, replicas):
    strategy = two_replicas if replicas == 2 else tf.distribute.get_strategy()
    loss = AffinityFieldLoss(decay_steps=10)
    with strategy.scope():
        inputs = keras.Input((12, 12, 3))
        model = keras.Model(inputs, keras.layers.Conv2D(CLASSES, 3, padding="same")(inputs))
        model.compile(optimizer="sgd", loss=loss)
    ids, images = example((4, 12, 12))
    model.fit(images, ids, batch_size=2, verbose=0)
    model.evaluate(images, ids, verbose=0)
    assert loss.variables[0].numpy() == 2
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.loss.variables[0].numpy() == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distance": 0}, "`distance` must be an integer of at least 1.*0"),
        ({"margin": -1.0}, "`margin` must be finite and ≥ 0"),
        ({"edge_weight": -1.0}, "`edge_weight` must be finite and ≥ 0"),
        ({"non_edge_weight": float("nan")}, "`non_edge_weight` must be finite and ≥ 0"),
        ({"downsample_factor": 0}, "`downsample_factor` must be an integer of at least 1"),
        ({"decay_steps": 0}, "`decay_steps` must be an integer of at least 1"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        AffinityFieldLoss(**options)
