"""One class: the losses on sigmoids take ids 0 and 1, and soft targets, of a foreground."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tfsegloss.steps import value_and_gradient
from tfsegloss import DiceLoss, FocalLoss, MeanIoU, RMILoss, SigmoidCrossEntropy, SSIMLoss

SIGMOIDS = {
    "SigmoidCrossEntropy": SigmoidCrossEntropy,
    "FocalLoss": lambda **options: FocalLoss(activation="sigmoid", **options),
    "RMILoss": lambda **options: RMILoss(downsample_factor=2, **options),
    "SSIMLoss": SSIMLoss,
    "DiceLoss": lambda **options: DiceLoss(activation="sigmoid", **options),
}


@pytest.fixture(params=list(SIGMOIDS.values()), ids=list(SIGMOIDS))
def make(request):
    return request.param


def binary(size=(2, 9, 9)):
    generator = np.random.default_rng(0)
    ids = generator.integers(0, 2, size)
    ids[0, 0, :3] = 255
    return ids, generator.normal(size=[*size, 1]).astype(np.float32)


def test_a_last_axis_changes_nothing(make):
    ids, logits = binary()
    expected = value_and_gradient(make(), ids, logits)
    for labels in (ids[..., np.newaxis], ids[..., np.newaxis].astype(np.float32)):
        actual = value_and_gradient(make(), labels, logits)
        np.testing.assert_allclose(actual[0], expected[0], rtol=1e-6)
        np.testing.assert_allclose(actual[1], expected[1], rtol=1e-5, atol=1e-9)


def test_soft_targets_are_those_of_the_same_class_twice(make):
    """A second class with the same maps doubles sums over the classes, not means of them."""
    ids, logits = binary()
    soft = np.where(ids == 255, 255, 0.2 + 0.7 * ids)[..., np.newaxis].astype(np.float32)
    one = make().parts(soft, logits)
    two = make().parts(np.repeat(soft, 2, -1), np.repeat(logits, 2, -1))
    for name, part in one.items():
        ratio = 1 if name in ("dissimilarity", "overlap") else 2
        np.testing.assert_allclose(two[name], ratio * part, rtol=1e-5, err_msg=name)
    assert abs(float(make()(soft, logits)) - float(make()(ids, logits))) > 1e-4


def test_soft_targets_outside_0_1_are_refused(make):
    ids, logits = binary()
    with pytest.raises(ValueError, match=r"\[0, 1\] or be an ignored id.*values: 2"):
        make()(2.0 * (ids == 1)[..., np.newaxis], logits)


def test_an_ignored_background(make):
    ids, logits = binary()
    expected = make()(np.where(ids == 0, 255, ids), logits)
    for labels in (ids, ids[..., np.newaxis]):
        np.testing.assert_allclose(make(ignore_class=[0, 255])(labels, logits), expected, rtol=1e-6)


def test_class_weights_of_soft_targets_are_mixed():
    logits = tf.zeros([1, 1, 2, 1])
    loss = SigmoidCrossEntropy(class_weights=[2.0, 6.0])
    value = loss([[[[0.25], [255.0]]]], logits)
    np.testing.assert_allclose(value, np.log(2) * (0.75 * 2 + 0.25 * 6), rtol=1e-6)


def test_masks_of_0_and_255_are_warned_of(make):
    """255 is ignored, so that nothing but background would be learnt, with a score of 1."""
    ids, logits = binary()
    with pytest.warns(UserWarning, match="0 or 255 everywhere.*labels // 255"):
        make()(255 * (ids == 1), logits)


def test_the_metric_warns_of_masks_of_0_and_255():
    ids, logits = binary()
    with pytest.warns(UserWarning, match="0 or 255 everywhere"):
        MeanIoU(num_classes=1).update_state(255 * (ids == 1), logits)


@pytest.mark.filterwarnings("error")
def test_a_foreground_or_no_ignored_pixel_is_not_warned_of():
    ids, logits = binary()
    SigmoidCrossEntropy()(ids, logits)
    SigmoidCrossEntropy()(0 * ids, logits)
    SigmoidCrossEntropy(ignore_class=None)(255 * (ids == 1) // 255, logits)
