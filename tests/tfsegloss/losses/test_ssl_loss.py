"""SSL against its paper's worked example and loops; what SSIM shares with it."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tfsegloss import oracles
from tests.tfsegloss.examples import CLASSES, example
from tests.tfsegloss.grid import grid
from tests.tfsegloss.steps import value_and_gradient
from tfsegloss import SigmoidCrossEntropy, SSIMLoss, SSLLoss
from tfsegloss.core.targets import encode_targets
from tfsegloss.losses.ssl_loss import (
    largest_difference,
    structural_difference,
    structural_similarity,
)


def test_the_papers_worked_example():
    """Figure 2: a uniform window over the whole patch, no stability factor."""
    y = np.array([[0, 0, 0], [1, 0, 1], [1, 1, 1]], np.float64)
    p = np.array([[0.1, 0.1, 0.1], [0.8, 0.8, 0.9], [0.8, 0.9, 0.8]])
    bce = -y * np.log(p) - (1 - y) * np.log(1 - p)
    assert round(bce.sum(), 4) == 2.8057
    assert round(bce[1, 1] / bce.sum(), 3) == 0.574

    def tiled(plane):
        # A patch that repeats without end: every 3×3 window holds it once, whatever its center.
        return tf.constant(np.tile(plane, [3, 3])[np.newaxis, 2:7, 2:7, np.newaxis])

    e = structural_difference(
        tiled(y), tiled(p), window_size=3, sigma=1e4, stability=1e-12
    ).numpy()[0, ..., 0]
    weighted = e * bce
    assert round(weighted.sum(), 4) == 3.0596
    assert round(weighted[1, 1] / weighted.sum(), 3) == 0.907


def test_the_largest_difference():
    for size in (3, 5):
        expected = oracles.largest_difference(size)
        np.testing.assert_allclose(largest_difference(size, 1.5, 0.01), expected, rtol=1e-12)
    assert round(largest_difference(3, 1.5, 0.01), 3) == 4.672
    assert largest_difference(1, 1.5, 0.01) == 1
    one_among_zeros = tf.constant(np.eye(1, 9, 4).reshape(1, 3, 3, 1))
    e = structural_difference(
        one_among_zeros, 1 - one_among_zeros, window_size=3, sigma=1.5, stability=0.01
    )
    np.testing.assert_allclose(e, largest_difference(3, 1.5, 0.01), rtol=1e-12)


# Its cluster takes seconds to compile.
@grid(
    lambda size, shape, mode: mode == "eager",
    size=[1, 3, 5],
    shape=[(2, 7, 5), (1, 45, 11)],
    mode={"eager": lambda function: function, "graph": tf.function},
)
def test_ssl_equals_the_loop(size, shape, mode):
    ids, logits = example(shape)
    logits = logits.astype(np.float64)
    targets = encode_targets(tf.constant(ids), CLASSES, dtype=tf.float64)
    pairs = zip(ids, logits, strict=True)
    expected = np.array([oracles.structural_similarity(i, x, size) for i, x in pairs])

    def sums(x):
        _, hard, count = structural_similarity(targets, x, window_size=size)
        return tf.reduce_sum(hard, [1, 2]), tf.reduce_sum(count, [1, 2])

    hard, count = mode(sums)(tf.constant(logits))
    np.testing.assert_allclose(hard, expected[:, 0], rtol=1e-10)
    np.testing.assert_array_equal(count, expected[:, 1])
    loss = SSLLoss(window_size=size)
    parts = loss.parts(ids, logits.astype(np.float32))
    np.testing.assert_allclose(
        parts["structure"], expected[:, 0].sum() / expected[:, 1].sum(), rtol=1e-4
    )
    np.testing.assert_allclose(
        parts["cross_entropy"], SigmoidCrossEntropy()(ids, logits), rtol=1e-6
    )


def test_the_ablations():
    ids, logits = example()
    targets = encode_targets(tf.constant(ids), CLASSES)
    total, hard, count = structural_similarity(targets, logits, mine=False, reweight=False)
    np.testing.assert_allclose(hard, total, rtol=1e-5)
    np.testing.assert_array_equal(count, CLASSES * (ids != 255))
    _, mined, hard_count = structural_similarity(targets, logits, reweight=False)
    assert (hard_count.numpy() <= count.numpy()).all()
    assert (mined.numpy() <= total.numpy() + 1e-6).all()
    assert 0 < hard_count.numpy().sum() < count.numpy().sum()


@pytest.mark.parametrize("size", [1, 3, 5])
def test_e_and_f_are_constants_in_the_gradient(size):
    """Slope of pixel and class: (λ / |V| + (1 − λ) e f / M) (σ(x) − t)."""
    ids, logits = example((1, 6, 5))
    _, gradient = value_and_gradient(SSLLoss(weight=0.3, window_size=size), ids, logits)
    valid = (ids != 255)[0][..., None]
    y = np.eye(CLASSES)[np.where(valid[..., 0], ids[0], 0)] * valid
    p = valid / (1 + np.exp(-logits[0].astype(np.float64)))
    e, f = oracles.structural_weights(ids[0], logits[0], size)
    expected = (0.3 / valid.sum() * valid + 0.7 * e * f / f.sum()) * (p - y)
    np.testing.assert_allclose(gradient[0], expected, atol=1e-5)


@pytest.mark.usefixtures("without_clusters")
@pytest.mark.parametrize("size", [1, 3, 5])
def test_gradient_of_ssl_equals_central_differences(size):
    """Where e does not weigh: f is constant between the places where it jumps."""
    ids, logits = example((1, 5, 4))
    targets = encode_targets(tf.constant(ids), CLASSES, dtype=tf.float64)

    @tf.function
    def hard(x):
        return structural_similarity(targets, x, window_size=size, reweight=False)[1]

    x = tf.constant(logits, tf.float64)
    analytic, numeric = tf.test.compute_gradient(hard, [x], delta=1e-5)
    np.testing.assert_allclose(analytic[0], numeric[0], atol=1e-7)
    assert (analytic[0] != 0).any()


def test_without_hard_pixels_the_structure_term_is_zero():
    ids, _ = example(ignored_share=0)
    right = (np.eye(CLASSES, dtype=np.float32)[ids] - 0.5) * 60
    assert SSLLoss(beta=0.9).parts(ids, right)["structure"] == 0


@pytest.mark.parametrize("loss", [SSLLoss, SSIMLoss])
def test_parts_are_what_the_loss_weighs(loss):
    ids, logits = example()
    (_, first), (_, second) = loss().parts(ids, logits).items()
    for weight in (0.0, 0.3, 1.0):
        expected = weight * first + (1 - weight) * second
        np.testing.assert_allclose(loss(weight=weight)(ids, logits), expected, rtol=1e-5)


@pytest.mark.parametrize("loss", [SSLLoss, SSIMLoss])
def test_multi_label_targets(loss):
    random = np.random.default_rng(0)
    dense = (random.random([1, 8, 8, 3]) < 0.5).astype(np.float32)
    logits = random.normal(size=dense.shape).astype(np.float32)
    value, gradient = value_and_gradient(loss(), dense, logits)
    assert np.isfinite(value)
    assert (gradient != 0).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window_size": 2}, "`window_size` must be odd.*2"),
        ({"beta": 1.0}, r"`beta` must be in \[0, 1\)"),
        ({"stability": 0.0}, "`stability` must be above 0"),
        ({"sigma": -1.0}, "`sigma` must be above 0"),
        ({"weight": 2.0}, r"`weight` must be in \[0, 1\]"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        SSLLoss(**options)


@pytest.mark.usefixtures("without_clusters")
@pytest.mark.parametrize("options", [{}, {"window_size": 1}, {"mine": False}])
@pytest.mark.parametrize("mode", [lambda function: function, tf.function])
def test_statistics_equal_the_loop(options, mode):
    """Figures 3 and 4: how many pairs of pixel and class are hard, and how e is spread."""
    ids, logits = example((2, 9, 7))
    size = options.get("window_size", 3)
    pairs = zip(ids, logits, strict=True)
    e, f = map(
        np.stack, zip(*(oracles.structural_weights(i, x, size) for i, x in pairs), strict=True)
    )
    e, f = e[ids != 255], f[ids != 255]
    if not options.get("mine", True):
        f[:] = True
    expected = {
        "hard_share": f.mean(),
        "difference_mean": e.mean(),
        "difference_min": e.min(),
        "difference_max": e.max(),
    }
    assert 0 < expected["hard_share"] <= 1
    loss = SSLLoss(**options)
    found = mode(loss.statistics)(tf.constant(ids), tf.constant(logits))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


def test_statistics_of_a_cluster_and_of_a_sum():
    """A static size is compiled; a sum calls its losses by their names."""
    ids, logits = map(tf.constant, example((1, 9, 7)))
    ssl = SSLLoss()
    plain, compiled = ssl.statistics(ids, logits), tf.function(ssl.statistics)(ids, logits)
    of_sum = (0.5 * SSLLoss(name="ssl") + SigmoidCrossEntropy()).statistics(ids, logits)
    assert of_sum.keys() == {f"ssl/{name}" for name in plain}
    for name, value in plain.items():
        np.testing.assert_allclose(compiled[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
        np.testing.assert_array_equal(of_sum[f"ssl/{name}"], value, err_msg=name)


def test_statistics_without_a_valid_pixel():
    ids, logits = example((1, 5, 4), ignored_share=1)
    assert all(np.isnan(value) for value in SSLLoss().statistics(ids, logits).values())
