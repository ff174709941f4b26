"""The networks of DeepLab's checkpoints whole; `test_slim_checkpoint` has thin ones."""

import subprocess
import sys

import keras
import numpy as np
import pytest

import models
from models.weights.slim_checkpoint import import_checkpoint, open_checkpoint
from tests.models.weights.slim_networks import (
    CLASSES,
    OTHER,
    OTHER_RATES,
    TOLERANCE,
    TRAINING,
    assert_has_values,
    assert_names_all_weights,
    fitted_values,
    pixels,
    reference,
    reference_logits,
    targets_of,
)
from tests.models.weights.slim_reference import distance, write_checkpoint, write_quickly
from tests.models.weights.test_slim_names import PUBLISHED

pytestmark = pytest.mark.full


def load(model, path, **options):
    return import_checkpoint(model, open_checkpoint(path), **options)


def published(**options):
    return models.build("deeplab_v3_plus", backbone="xception_65", num_classes=CLASSES, **options)


@pytest.fixture(scope="module")
def whole_values():
    return fitted_values("xception_65", targets_of("xception_65"))


@pytest.fixture(scope="module")
def whole():
    return published()


@pytest.fixture(scope="module")
def whole_prefix(whole_values, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "model.ckpt"
    return write_checkpoint(path, whole_values | TRAINING)


def test_names_are_those_of_all_weights(whole):
    assert_names_all_weights(targets_of("xception_65"), whole)
    assert whole.count_params() == PUBLISHED


@pytest.mark.parametrize("sides", [(33, 33), (49, 65)])
def test_logits_are_those_of_the_published_network(whole, whole_prefix, whole_values, sides):
    report = load(whole, whole_prefix)
    assert report.unused == report.missing == ()
    assert_has_values(whole, targets_of("xception_65"), whole_values)
    images = pixels(1, *sides, 3)
    expected = reference_logits(reference("xception_65", whole_values), "xception_65", images)
    assert distance(whole(images), expected) < TOLERANCE


def test_logits_of_the_residual_network(tmp_path):
    network = models.build(
        "deeplab_v3_plus", backbone="resnet101_beta", atrous_rates=OTHER_RATES, **OTHER
    )
    targets = targets_of("resnet101_beta", branches=len(OTHER_RATES), **OTHER)
    assert_names_all_weights(targets, network)
    values = fitted_values("resnet101_beta", targets, rates=OTHER_RATES)
    report = load(network, write_quickly(tmp_path / "model.ckpt", values))
    assert (set(report.used), report.unused, report.missing) == (set(values), (), ())
    images = pixels(1, 33, 49, 3)
    expected = reference("resnet101_beta", values)
    expected = reference_logits(expected, "resnet101_beta", images, OTHER_RATES)
    assert distance(network(images), expected) < TOLERANCE


@pytest.mark.slow
def test_a_network_without_a_decoder(whole_values, tmp_path):
    network = models.build(
        "deeplab_v3", backbone="xception_65", num_classes=CLASSES, separable=True, output_stride=16
    )
    targets = targets_of("xception_65", decoder=False)
    assert_names_all_weights(targets, network)
    path = write_quickly(tmp_path / "model.ckpt", {name: whole_values[name] for name in targets})
    report = load(network, path)
    assert (set(report.used), report.missing) == (set(targets), ())


@pytest.mark.slow
def test_features_of_the_backbone_at_another_stride(whole_prefix, whole_values):
    network = published(output_stride=8)
    load(network, whole_prefix)
    images = 2 / 255 * pixels(1, 49, 33, 3) - 1
    backbone = network.get_layer("backbone")
    last = backbone.get_layer("exit_flow_block2_unit_1_separable_conv3_pointwise_relu")
    found = keras.Model(backbone.input, last.output)(images)
    assert distance(found, reference("xception_65", whole_values).backbone(images, 8)) < TOLERANCE


@pytest.mark.slow
def test_the_command_in_a_process_of_its_own(whole_prefix, whole_values, tmp_path):
    output = tmp_path / "deeplab.weights.h5"
    arguments = ["import-checkpoint", whole_prefix, "--output", output]
    done = subprocess.run(
        [sys.executable, "-m", "models", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"Weights of the whole network: {output}\n")
    network = published(weights=output)
    assert_has_values(network, targets_of("xception_65"), whole_values)
    assert np.isfinite(network(pixels(1, 33, 33, 3))).all()
