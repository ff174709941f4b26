"""The poolings without weights to solve for, against loops in float64."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tfsegloss import oracles
from tests.tfsegloss.examples import example, pixel_losses
from tests.tfsegloss.grid import grid
from tfsegloss import Mean, Minkowski, SoftmaxCrossEntropy, TopK

POOLINGS = {
    "mean": Mean(),
    "minkowski": Minkowski(k=3),
    "minkowski_20": Minkowski(k=20.5),
    "topk": TopK(fraction=0.3),
    "topk_threshold": TopK(threshold=0.3),
    "topk_kept": TopK(threshold=0.01, min_kept=11),
}
every = pytest.mark.parametrize("pooling", POOLINGS.values(), ids=POOLINGS)


def rows(losses, valid):
    """Return the valid losses of each image in float64."""
    return [
        loss[where].astype(np.float64)
        for loss, where in zip(losses.numpy(), valid.numpy(), strict=True)
    ]


def value_and_gradient(pooling, losses, valid):
    with tf.GradientTape() as tape:
        tape.watch(losses)
        pooled = pooling(losses, valid)
    return pooled.numpy(), tape.gradient(pooled, losses).numpy()


def test_mean_counts_pixels_of_the_whole_batch():
    losses, valid = pixel_losses(empty=True)
    total = np.concatenate(rows(losses, valid))
    np.testing.assert_allclose(tf.reduce_mean(Mean()(losses, valid)), total.mean(), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [1, 2, 3, 5.5, 20])
def test_minkowski_equals_the_loop(k, dtype):
    losses, valid = pixel_losses(dtype, empty=True)
    pooled = Minkowski(k=k)(losses, valid)
    assert pooled.dtype == dtype
    expected = [oracles.minkowski_mean(row, k) for row in rows(losses, valid)]
    np.testing.assert_allclose(pooled, expected, rtol=1e-6)


def test_minkowski_of_one_is_the_mean_of_each_image():
    losses, valid = pixel_losses(empty=True)
    expected = [row.mean() if row.size else 0 for row in rows(losses, valid)]
    np.testing.assert_allclose(Minkowski(k=1)(losses, valid), expected, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e-4, 1e4, 1e30])
@pytest.mark.parametrize("k", [1.5, 20, 200])
def test_minkowski_neither_overflows_nor_underflows(k, scale):
    losses, valid = pixel_losses(empty=True)
    pooled, gradient = value_and_gradient(Minkowski(k=k), losses * scale, valid)
    expected = [oracles.minkowski_mean(row, k) for row in rows(losses * scale, valid)]
    np.testing.assert_allclose(pooled, expected, rtol=1e-5)
    _, unscaled = value_and_gradient(Minkowski(k=k), losses, valid)
    np.testing.assert_allclose(gradient, unscaled, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("options", [{"fraction": 0.01}, {"fraction": 0.3}, {"fraction": 1.0}])
def test_topk_of_a_fraction_equals_the_loop(options):
    losses, valid = pixel_losses(empty=True)
    expected = [oracles.top_mean(row, **options) for row in rows(losses, valid)]
    np.testing.assert_allclose(TopK(**options)(losses, valid), expected, rtol=1e-6)


@pytest.mark.parametrize("threshold", [0.01, 0.3, 0.999])
@pytest.mark.parametrize("min_kept", [0, 1, 11, 1000])
def test_topk_below_a_threshold_equals_the_loop(threshold, min_kept):
    losses, valid = pixel_losses(empty=True)
    expected = [oracles.top_mean(row, 1, threshold, min_kept) for row in rows(losses, valid)]
    pooled = TopK(threshold=threshold, min_kept=min_kept)(losses, valid)
    np.testing.assert_allclose(pooled, expected, rtol=1e-6)


def test_topk_of_everything_is_the_mean_of_each_image():
    losses, valid = pixel_losses(empty=True)
    np.testing.assert_allclose(
        TopK(fraction=1.0)(losses, valid), Minkowski(k=1)(losses, valid), rtol=1e-6
    )


def test_topk_keeps_the_hard_pixels_of_a_softmax():
    ids, logits = example((1, 6, 7))
    loss = SoftmaxCrossEntropy(pooling=TopK(threshold=0.7))(ids, logits)
    places = [i for i in np.ndindex(ids.shape) if ids[i] != 255]
    losses = [oracles.softmax_pixel_loss(logits[i], ids[i]) for i in places]
    np.testing.assert_allclose(loss, oracles.top_mean(losses, threshold=0.7), rtol=1e-6)


def test_ties_at_the_border_share_its_weight():
    losses, valid = tf.constant([[[3.0, 1.0, 3.0, 3.0, 5.0]]]), tf.ones([1, 1, 5], tf.bool)
    pooled, gradient = value_and_gradient(TopK(fraction=0.4), losses, valid)
    np.testing.assert_allclose(pooled, [4.0])
    np.testing.assert_allclose(gradient[0, 0], [1 / 6, 0, 1 / 6, 1 / 6, 1 / 2], rtol=1e-6)


@every
def test_gradient_equals_central_differences(pooling):
    losses = np.random.default_rng(1).permutation(np.linspace(0.1, 3, 12)).reshape([2, 2, 3])
    valid = tf.constant(np.arange(12).reshape([2, 2, 3]) % 4 > 0)
    losses = tf.where(valid, tf.constant(losses), 0)
    analytic, numeric = tf.test.compute_gradient(
        lambda losses: pooling(tf.where(valid, losses, 0), valid), [losses], delta=1e-5
    )
    np.testing.assert_allclose(analytic[0], numeric[0], atol=1e-7)


@every
@pytest.mark.parametrize("pixels", [1, 6])
def test_all_zero_gives_zero_and_a_finite_gradient(pooling, pixels):
    losses = tf.zeros([2, 1, pixels])
    pooled, gradient = value_and_gradient(pooling, losses, tf.ones_like(losses, tf.bool))
    assert pooled.tolist() == [0, 0]
    assert np.isfinite(gradient).all()


@every
def test_ignored_pixels_take_no_part(pooling):
    losses, valid = pixel_losses(empty=True)
    pooled, gradient = value_and_gradient(pooling, losses, valid)
    for i, row in enumerate(rows(losses, valid)[:2]):
        alone = pooling(tf.constant(row[None, None], tf.float32), tf.ones([1, 1, row.size], bool))
        if isinstance(pooling, Mean):
            alone *= 3 * row.size / np.count_nonzero(valid)
        np.testing.assert_allclose(pooled[i], alone[0], rtol=1e-6)
    assert pooled[2] == 0
    if not isinstance(pooling, Mean):  # its gradient is a constant, which the losses cut off
        assert (gradient[~valid.numpy()] == 0).all()


@every
def test_graph_and_xla_equal_eager(pooling):
    losses, valid = pixel_losses(empty=True)
    expected = pooling(losses, valid)
    for shape, compiled in [([None] * 3, False), (losses.shape, True)]:
        signature = [tf.TensorSpec(shape, tf.float32), tf.TensorSpec(shape, tf.bool)]
        call = tf.function(pooling.__call__, input_signature=signature, jit_compile=compiled)
        np.testing.assert_allclose(call(losses, valid), expected, rtol=1e-6)


@grid(lambda pooling, mode: mode == "eager", pooling=POOLINGS, mode=["eager", "xla"])
def test_nan_stays_nan_in_its_image(pooling, mode):
    losses, valid = pixel_losses(empty=True)
    bad = losses.numpy()
    place = tuple(np.argwhere(valid.numpy()[0])[5])
    bad[0][place] = np.nan
    call = tf.function(pooling.__call__, jit_compile=True) if mode == "xla" else pooling
    pooled = call(tf.constant(bad), valid).numpy()
    assert np.isnan(pooled).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("pooling", "options", "message"),
    [
        (Minkowski, {"k": 0.5}, r"`k` must be finite and ≥ 1. Received: k=0.5"),
        (Minkowski, {"k": np.inf}, "`k` must be finite and ≥ 1. Received: k=inf"),
        (TopK, {"fraction": 1.5}, r"`fraction` must be in \(0, 1\]. Received: fraction=1.5"),
        (TopK, {"threshold": 1}, r"`threshold` must be in \(0, 1\). Received: threshold=1"),
        (TopK, {"threshold": 0.5, "min_kept": 0.5}, "`min_kept` must be an integer.*0.5"),
        (TopK, {"min_kept": 5}, "`min_kept` needs a `threshold`. Received: min_kept=5"),
    ],
)
def test_bad_options_are_named(pooling, options, message):
    with pytest.raises(ValueError, match=message):
        pooling(**options)


def test_a_share_that_rounds_up_keeps_no_pixel_more():
    """0.07 · 100 is 7.000000000000001."""
    losses = tf.reshape(tf.range(100.0), [1, 10, 10])
    pooled = TopK(fraction=0.07)(losses, tf.ones([1, 10, 10], tf.bool))
    np.testing.assert_allclose(pooled, [np.arange(93, 100).mean()])
