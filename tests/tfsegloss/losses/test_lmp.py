"""LMP's loss: the max-pooled cross-entropies of each image."""

import numpy as np
import pytest

from tests.tfsegloss import oracles
from tests.tfsegloss.examples import example
from tfsegloss import LMPLoss, SoftmaxCrossEntropy


def test_pools_the_cross_entropies_of_each_image():
    ids, logits = example()
    expected = []
    for labels, image in zip(ids, logits, strict=True):
        row = np.array(
            [
                oracles.softmax_pixel_loss(image[i], labels[i])
                for i in np.ndindex(labels.shape)
                if labels[i] != 255
            ]
        )
        expected.append(oracles.max_pooling_weights(row, 1.7, 0.2) @ row)
    loss = LMPLoss(p=1.7, fraction=0.2, reduction="none")
    np.testing.assert_allclose(loss(ids, logits), expected, rtol=1e-6)


@pytest.mark.parametrize("options", [{"p": np.inf}, {"fraction": 1.0}])
def test_in_the_limits_it_is_cross_entropy(options):
    ids, logits = example(ignored_share=0)
    expected = SoftmaxCrossEntropy()(ids, logits)
    np.testing.assert_allclose(LMPLoss(**options)(ids, logits), expected, rtol=1e-6)
