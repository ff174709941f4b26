"""RMI against its authors' code, a loop from the paper, and its corner cases."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.tfsegloss import oracles
from tests.tfsegloss.examples import CLASSES, example
from tests.tfsegloss.grid import grid
from tests.tfsegloss.steps import value_and_gradient
from tfsegloss import RMILoss, SigmoidCrossEntropy
from tfsegloss.core.targets import encode_targets
from tfsegloss.losses.rmi import region_mutual_information

GOLDEN = Path(__file__).parents[2] / "golden" / "rmi_authors"
METHODS = ["avg", "max", "bilinear", None]
CASES = json.loads(GOLDEN.with_suffix(".json").read_text())


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN.with_suffix(".npz"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['loss']}-{case['case']}")
def test_equals_the_authors_code(golden, case):
    ids, logits, gradient = (
        golden[f"{case['case']}_{name}"] for name in ("labels", "logits", "grad")
    )
    if case["loss"] == "bce":
        loss, valid = SigmoidCrossEntropy(), (ids != 255).sum()
        scale = (valid + 1) / valid  # they divide by one more
    else:
        loss, scale = RMILoss(**_options(case)), 1.0
    value, actual = value_and_gradient(loss, ids, logits)
    expected = case["value"] * scale
    assert abs(value - expected) <= 1e-5 * max(1, abs(expected))
    error = np.linalg.norm(actual - gradient * scale) / np.linalg.norm(gradient * scale)
    assert error <= 1e-4


def _options(case):
    return {
        "region_size": case["radius"],
        "downsample": case["pool"],
        "downsample_factor": case["stride"],
    }


def test_equals_the_loop_from_the_paper():
    ids, logits = example((2, 26, 21))
    parts = RMILoss().parts(ids, logits)
    expected = [oracles.region_mutual_information(ids[i], logits[i]) for i in range(2)]
    np.testing.assert_allclose(parts["region"], np.mean(expected), rtol=1e-6)


@pytest.mark.usefixtures("without_clusters")
@pytest.mark.parametrize("method", METHODS)
def test_gradient_equals_central_differences(method):
    ids, logits = example((1, 8, 9))
    targets = encode_targets(tf.constant(ids), CLASSES, dtype=tf.float64)

    @tf.function
    def value(logits):
        return region_mutual_information(
            targets, logits, region_size=2, downsample=method, downsample_factor=2
        )

    analytic, numeric = tf.test.compute_gradient(value, [tf.constant(logits, tf.float64)])
    np.testing.assert_allclose(analytic[0], numeric[0], atol=1e-6)


def test_parts_are_what_the_loss_weighs():
    ids, logits = example()
    parts = RMILoss().parts(ids, logits)
    assert list(parts) == ["cross_entropy", "region"]
    for weight in (0.0, 0.3, 1.0):
        expected = weight * parts["cross_entropy"] + (1 - weight) * parts["region"]
        np.testing.assert_allclose(RMILoss(weight=weight)(ids, logits), expected, rtol=1e-6)


def test_the_region_term_is_the_mean_of_the_images():
    ids, logits = example()
    loss = RMILoss(weight=0.0)
    singles = [loss(ids[i : i + 1], logits[i : i + 1]) for i in range(2)]
    np.testing.assert_allclose(loss(ids, logits), np.mean(singles), rtol=1e-6)


@grid(
    lambda method, shape: shape == (1, 2, 40) or method == "avg",
    method=METHODS,
    shape=[(1, 1, 1), (1, 2, 40), (1, 40, 2)],
)
def test_smaller_than_a_region_is_a_constant(method, shape):
    ids, logits = example(shape)
    loss = RMILoss(weight=0.0, downsample=method, downsample_factor=2)
    value, gradient = value_and_gradient(loss, ids, logits)
    np.testing.assert_allclose(value, CLASSES * np.log(5e-4) / 2, rtol=1e-5)
    assert (gradient == 0).all()


def test_a_shifted_prediction_is_worse_than_a_scaled_one():
    """The term sees structure: what predicts every region linearly is as good as the truth."""
    truth = np.kron(np.indices([4, 4]).sum(0) % 2, np.ones([8, 8], np.int32))[None]
    sure = (np.eye(2)[truth] - 0.5).astype(np.float32)
    loss = RMILoss(weight=0.0, downsample=None)
    scaled, shifted = loss(truth, sure * 2), loss(truth, np.roll(sure * 20, 3, axis=2))
    assert loss(truth, sure * 20) < scaled < shifted


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"region_size": 0}, "`region_size` must be an integer of at least 1.*0"),
        ({"downsample": "area"}, "`downsample` must be one of.*'area'"),
        ({"downsample_factor": 1.5}, "`downsample_factor`.*1.5"),
        ({"weight": -0.1}, r"`weight` must be in \[0, 1\]"),
        ({"epsilon": 0.0}, "`epsilon` must be above 0"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        RMILoss(**options)
