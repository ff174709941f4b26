"""Checkpoints of random values for DeepLab's networks, and who they belong to."""

import functools
from collections import Counter

import numpy as np

import models
from models.weights.slim_names import SCOPES, Head, slim_variables
from tests.models.weights.slim_reference import Reference, random_values

CLASSES = 21
# A width for the head of thin networks, and a head unlike the published one.
THIN = {"num_classes": CLASSES, "channels": 12}
OTHER = {"num_classes": 5, "separable": False, "channels": 10}
OTHER_RATES = (6, 12)
LOW_LEVEL = {
    "xception_65": "entry_flow/block2/unit_1/xception_module/separable_conv2_pointwise",
    "resnet101_beta": "block1/unit_2/bottleneck_v1/conv3",
}
EPSILON = {"xception_65": 1e-3, "resnet101_beta": 1e-5}
# What a training leaves beside the weights.
TRAINING = {
    "global_step": np.int64(30000),
    "xception_65/entry_flow/conv1_1/weights/Momentum": np.zeros([3, 3, 3, 32], "float32"),
    "logits/semantic/biases/Adam_1": np.zeros([CLASSES], "float32"),
    "xception_65/entry_flow/conv1_2/BatchNorm/gamma/ExponentialMovingAverage": np.ones(
        [64], "float32"
    ),
}
FIRST = "xception_65/entry_flow/conv1_1/weights"
# Of the spread: rounding grows through a hundred layers.
TOLERANCE = 1e-4


def build(architecture="deeplab_v3_plus", **options):
    return models.build(architecture, backbone="xception_65", **{**THIN, **options})


def targets_of(backbone, **head):
    return {
        **slim_variables(backbone, "backbone"),
        **slim_variables(backbone, "head", head=Head(**head)),
    }


def weight(model, target):
    backbone = model.get_layer("backbone")
    inside = target.layer in {layer.name for layer in backbone.layers}
    return getattr((backbone if inside else model).get_layer(target.layer), target.weight)


def pixels(*shape):
    return np.random.default_rng(1).uniform(0, 255, shape).astype("float32")


def reference(backbone, values, *, fit=False):
    scope = SCOPES[backbone][0]
    return Reference(values, scope=scope, epsilon=EPSILON[backbone], fit=fit)


def reference_logits(network, backbone, images, rates=(6, 12, 18)):
    low_level = f"{SCOPES[backbone][0]}/{LOW_LEVEL[backbone]}"
    return network.logits(images, low_level=low_level, rates=rates)


def fitted_values(backbone, targets, **options):
    """Return values of a checkpoint whose network has features of moderate size."""
    shapes = {name: target.shape for name, target in targets.items()}
    network = reference(backbone, random_values(shapes), fit=True)
    reference_logits(network, backbone, pixels(2, 33, 33, 3), **options)
    return network.values


@functools.cache
def thin_values():
    """Return values of a checkpoint for `build()` on a thin backbone; nobody may change them."""
    return fitted_values("xception_65", targets_of("xception_65", **THIN))


def assert_names_all_weights(targets, network):
    found = Counter(id(weight(network, target)) for target in targets.values())
    assert found == Counter(map(id, network.weights))
    assert all(weight(network, target).shape == target.shape for target in targets.values())


def assert_has_values(model, targets, values):
    for name, target in targets.items():
        np.testing.assert_array_equal(weight(model, target), values[name])
