"""What labels may look like, by the number of classes: each is right, warned of, or refused."""

import re
import warnings

import numpy as np
import pytest

from tfsegloss import MeanIoU, MultiLabelIoU, SigmoidCrossEntropy, SoftmaxCrossEntropy

IDS = np.array([[[0, 1, 1, 0], [1, 0, 255, 0]]])
COUNTED = IDS != 255


def one_hot(num_classes):
    return np.where(COUNTED[..., None], np.eye(num_classes)[IDS % 255 % num_classes], 255.0)


SOFT = np.where(COUNTED[..., None], 0.75 * (IDS[..., None] == 1) + 0.125, 255.0)
SOFT_OF_TWO = np.where(COUNTED[..., None], np.concatenate([1 - SOFT, SOFT], -1), 255.0)
MASK = np.where(COUNTED, 255 * (IDS == 1), 255)
# By number of classes and format: the labels, and the target of each class that they mean.
RIGHT = {
    (1, "ids"): (IDS, IDS[..., None]),
    (1, "ids with an axis"): (IDS[..., None].astype(np.uint8), IDS[..., None]),
    (1, "bool"): (IDS == 1, np.where(COUNTED, IDS, 0)[..., None]),
    (1, "soft"): (SOFT, SOFT),
    (1, "0 and 255, divided"): (MASK // 255, MASK[..., None] // 255),
    (2, "ids"): (IDS, one_hot(2)),
    (2, "ids with an axis"): (IDS[..., None].astype(np.float32), one_hot(2)),
    (2, "bool"): (IDS == 1, np.eye(2)[np.where(COUNTED, IDS, 0)]),
    (2, "one-hot"): (one_hot(2), one_hot(2)),
    (2, "soft"): (SOFT_OF_TWO, SOFT_OF_TWO),
    (3, "ids"): (IDS, one_hot(3)),
    (3, "one-hot"): (one_hot(3), one_hot(3)),
}
REFUSED = {
    (1, "a third id"): (2 * IDS % 510, r"Received ids: 2"),
    (1, "two channels"): (one_hot(2), r"y_true.shape=\(1, 2, 4, 2\)"),
    (1, "soft beyond 1"): (1.5 * (IDS[..., None] == 1), r"\[0, 1\].*values: 1.5"),
    (1, "soft without an axis"): (SOFT[..., 0], "Received ids: 0.125, 0.875"),
    (2, "a third id"): (2 * IDS % 510, r"ids in \[0, 2\).*ids: 2"),
    (2, "three channels"): (one_hot(3), r"y_true.shape=\(1, 2, 4, 3\)"),
    (2, "soft with one channel"): (SOFT, "Received ids: 0.125, 0.875"),
    (3, "one-hot of 0 and 255"): (255 * np.eye(3)[IDS % 255], "in every channel.*values: 255"),
    (3, "RGB"): (np.full([1, 2, 4, 3], 128), r"\[0, 1\].*values: 128"),
}


def counted_targets(num_classes, name):
    labels, targets = RIGHT[num_classes, name]
    counted = (np.asarray(labels).reshape(*IDS.shape, -1) != 255).all(-1)
    logits = np.random.default_rng(0).normal(size=[*IDS.shape, num_classes]).astype(np.float32)
    return labels, logits, targets[counted], logits[counted].astype(float)


@pytest.mark.parametrize(("num_classes", "name"), RIGHT)
def test_losses(num_classes, name):
    labels, logits, t, x = counted_targets(num_classes, name)
    sigmoid = (np.logaddexp(0, x) - t * x).sum(-1).mean()
    np.testing.assert_allclose(SigmoidCrossEntropy()(labels, logits), sigmoid, rtol=1e-5)
    if num_classes > 1:
        softmax = (t * (np.log(np.exp(x).sum(-1, keepdims=True)) - x)).sum(-1).mean()
        np.testing.assert_allclose(SoftmaxCrossEntropy()(labels, logits), softmax, rtol=1e-5)


@pytest.mark.parametrize(("num_classes", "name"), RIGHT)
def test_metrics(num_classes, name):
    labels, logits, t, x = counted_targets(num_classes, name)
    metric = MeanIoU(num_classes)
    metric.update_state(labels, logits)
    if num_classes == 1:
        true, found = (t[:, 0] > 0.5).astype(int), (x[:, 0] > 0).astype(int)
    else:
        true, found = t.argmax(-1), x.argmax(-1)
    classes = range(max(num_classes, 2))
    iou = [((true == c) & (found == c)).sum() / ((true == c) | (found == c)).sum() for c in classes]
    np.testing.assert_allclose(metric.iou_per_class(), iou)
    metric = MultiLabelIoU(num_classes)
    metric.update_state(labels, logits)
    true, found = t > 0.5, x > 0
    np.testing.assert_allclose(
        metric.iou_per_class(), (true & found).sum(0) / (true | found).sum(0)
    )


@pytest.mark.parametrize(("num_classes", "name"), REFUSED)
def test_refused_by_losses_and_metrics(num_classes, name):
    labels, message = REFUSED[num_classes, name]
    logits = np.zeros([*IDS.shape, num_classes], np.float32)
    for use in (
        SigmoidCrossEntropy(),
        MeanIoU(num_classes).update_state,
        MultiLabelIoU(num_classes).update_state,
    ):
        with pytest.raises(ValueError, match=message):
            use(labels, logits)


@pytest.mark.parametrize("num_classes", [1, 2])
def test_masks_of_0_and_255_are_background_and_ignored(num_classes):
    """By the contract; of one class a warning says so, of several the id may be a real one."""
    logits = np.zeros([*IDS.shape, num_classes], np.float32)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        SigmoidCrossEntropy()(MASK, logits)
        MeanIoU(num_classes).update_state(MASK, logits)
    said = [w for w in caught if re.search("0 or 255 everywhere", str(w.message))]
    assert len(said) == (2 if num_classes == 1 else 0)
