"""SSIM against loops and tf.image.ssim."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tests.tfsegloss import oracles
from tests.tfsegloss.examples import CLASSES, example
from tests.tfsegloss.steps import value_and_gradient
from tfsegloss import SSIMLoss
from tfsegloss.core.targets import encode_targets
from tfsegloss.losses.ssim import dissimilarity

FORMS = ["full", "contrast_structure"]


@pytest.mark.parametrize(("form", "size"), [("full", 1), *itertools.product(FORMS, [3, 5])])
def test_ssim_equals_the_loop(form, size):
    ids, logits = example((2, 9, 7))
    pairs = zip(ids, logits.astype(np.float64), strict=True)
    maps = [oracles.structural_dissimilarity(i, x, form, size) for i, x in pairs]
    parts = SSIMLoss(form=form, window_size=size).parts(ids, logits)
    np.testing.assert_allclose(
        parts["dissimilarity"], np.sum(maps) / (ids != 255).sum(), rtol=1e-4, atol=1e-6
    )


def test_ssim_equals_tensorflows_index_where_the_settings_agree():
    """Its windows lie inside the image, its constants are those of a range of 1."""
    random = np.random.default_rng(0)
    y, p = (tf.constant(random.random([1, 24, 20, 1]), tf.float32) for _ in range(2))
    ours = dissimilarity(y, p, form="full", window_size=11, sigma=1.5)
    theirs = tf.image.ssim(y, p, max_val=1.0, filter_size=11, filter_sigma=1.5)
    np.testing.assert_allclose(1 - tf.reduce_mean(ours), theirs, rtol=1e-5)


@pytest.mark.usefixtures("without_clusters")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(1, 2, 3), (1, 5, 4)])
def test_gradient_of_ssim_equals_central_differences(form, shape):
    ids, logits = example(shape)
    targets = encode_targets(tf.constant(ids), CLASSES, dtype=tf.float64)
    loss = SSIMLoss(form=form, window_size=5)
    function = tf.function(lambda x: loss.terms(targets, x, None)["dissimilarity"])
    analytic, numeric = tf.test.compute_gradient(function, [tf.constant(logits, tf.float64)])
    np.testing.assert_allclose(analytic[0], numeric[0], atol=1e-7)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", ["flat", "inverted", "equal"])
def test_ssim_is_finite_where_tensorflows_multiscale_index_is_not(form, case):
    ids, _ = example((1, 16, 16), ignored_share=0)
    sure = (np.eye(CLASSES, dtype=np.float32)[ids] - 0.5) * 200
    logits = {"flat": 0 * sure, "inverted": -sure, "equal": sure}[case]
    value, gradient = value_and_gradient(SSIMLoss(form=form, weight=0.0), ids, logits)
    assert 0 - 1e-6 <= value <= 2
    assert np.isfinite(gradient).all()
    if case == "equal":
        np.testing.assert_allclose(value, 0, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "luminance"}, "`form` must be one of.*'luminance'"),
        (
            {"form": "contrast_structure", "window_size": 1},
            "`window_size` must be at least 3 with form=.*constant.*window_size=1",
        ),
        ({"window_size": 0}, "`window_size` must be odd.*0"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        SSIMLoss(**options)
