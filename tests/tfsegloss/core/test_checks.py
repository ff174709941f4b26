"""Options that are no numbers at all get the same one line as numbers out of range."""

import json
import math

import numpy as np
import pytest

from tfsegloss import (
    FocalLoss,
    LADLoss,
    LMPLoss,
    Minkowski,
    SoftmaxCrossEntropy,
    TopK,
    WeightedLosses,
)

CASES = {
    "no number": (lambda: LADLoss(kernel_size=None), "`kernel_size` must be odd.*=None"),
    "NaN as a size": (lambda: LADLoss(kernel_size=math.nan), "`kernel_size` must be odd.*=nan"),
    "text": (lambda: LMPLoss(p="x"), r"`p` must be in \[1, inf\].*p='x'"),
    "text that is a number": (lambda: LMPLoss(p="2"), r"`p` must be in \[1, inf\].*p='2'"),
    "a truth value": (lambda: LADLoss(stride=True), "`stride` must be an integer.*=True"),
    "half a pixel": (lambda: LADLoss(stride=1.5), "`stride` must be an integer of at least 1.*1.5"),
    "infinite": (lambda: Minkowski(k=math.inf), "`k` must be finite and ≥ 1.*=inf"),
    "text as a threshold": (lambda: TopK(threshold="a"), r"`threshold` must be in \(0, 1\).*'a'"),
    "one weight": (lambda: SoftmaxCrossEntropy(class_weights=3), "`class_weights` must be.*=3"),
    "a name": (lambda: SoftmaxCrossEntropy(pooling="mean"), "`pooling` must be.*'mean'"),
    "a list": (lambda: WeightedLosses([]), r"`losses` must be a dict.*=\[\]"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_no_number_is_named(case):
    make, message = CASES[case]
    with pytest.raises(ValueError, match=message):
        make()


def test_numbers_of_numpy_become_python_s_own():
    config = FocalLoss(alpha=np.float32(0.5), gamma=np.int64(2)).get_config()
    assert json.loads(json.dumps(config))["alpha"] == 0.5
