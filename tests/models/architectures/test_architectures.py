"""What holds for every architecture, on small backbones."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from models import ARCHITECTURES
from tests.models.architectures import checks
from tests.models.networks import CLASSES, KINDS, backbone, batch_norm_layers, build, built

every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)


@every_architecture
@pytest.mark.parametrize("kind", ["same", "padded", "unpadded"])  # both grids, and a margin
def test_logits_have_the_size_of_the_image(architecture, kind, images):
    checks.check_sizes(built(architecture, kind=kind), images)


@pytest.mark.parametrize("output_stride", [8, 32])
def test_every_output_stride_takes_every_size(output_stride, images):
    checks.check_sizes(built("deeplab_v3_plus", output_stride=output_stride), images)


@every_architecture
def test_trained_saved_and_loaded_it_gives_the_same_logits(architecture, tmp_path, images):
    checks.check_training_saving_loading(tmp_path, images, architecture)


@pytest.mark.parametrize(
    ("architecture", "policy"),
    [
        ("deeplab_v2", "mixed_bfloat16"),
        ("deeplab_v3", "mixed_float16"),
        ("deeplab_v3_plus", "mixed_bfloat16"),
    ],
)
def test_logits_stay_float32_in_mixed_precision(architecture, policy, images):
    x = images(1, 33, 41, 3)
    model, logits = checks.check_mixed_precision(policy, x, architecture, backbone=KINDS["same"])
    half = policy.removeprefix("mixed_")
    assert {layer.compute_dtype for layer in batch_norm_layers(model)} == {half}
    ours = [layer for layer in model.layers if layer.name.startswith(("norm", "padding", "logits"))]
    assert {layer.compute_dtype for layer in ours} == {"float32"}
    # The classifier's sums are not those of a rounded layer.
    assert np.any(logits != tf.cast(tf.cast(logits, half), tf.float32))


@pytest.mark.parametrize("freeze", [False, True, "all"])
def test_frozen_batch_norm(freeze, images):
    checks.check_frozen_batch_norm(freeze, images(2, 33, 33, 3), "deeplab_v3_plus")


@pytest.mark.parametrize("freeze", [True, "all"])
def test_frozen_statistics_are_used_in_training(freeze, images, tmp_path):
    checks.check_frozen_statistics(freeze, tmp_path, images)


@every_architecture
def test_options_of_batch_norm(architecture):
    model = build(architecture, batch_norm_momentum=0.7, batch_norm_epsilon=0.01)
    layers = batch_norm_layers(model)
    assert all(layer.synchronized for layer in layers)
    assert {layer.momentum for layer in layers} == {0.7}
    inner = batch_norm_layers(model.get_layer("backbone"))
    assert {layer.epsilon for layer in inner} == {1e-3}
    # DeepLabV2 has none behind its backbone.
    head = {layer.epsilon for layer in layers if layer not in inner}
    assert head == (set() if architecture == "deeplab_v2" else {0.01})


def test_the_default_epsilon_is_that_of_the_published_code():
    epsilons = {layer.name: layer.epsilon for layer in batch_norm_layers(built())}
    assert epsilons["aspp_project_bn"] == epsilons["decoder_1_bn"] == 1e-5


def test_exported_it_gives_the_same_logits(tmp_path, images):
    """With pools that are dilated."""
    checks.check_export(built("deeplab_v2", kind="pools", output_stride=8), tmp_path, images)


def test_image_types_give_the_same_logits(images):
    pixels = images(1, 32, 32, 3).astype("uint8")
    expected = built()(pixels.astype("float32"))
    for dtype in ("uint8", "int32", "float16", "float64"):
        np.testing.assert_array_equal(built()(pixels.astype(dtype)), expected)


def test_a_batch_is_its_images(images):
    batch = images(2, 40, 56, 3)
    singles = np.concatenate([built()(batch[:1]), built()(batch[1:])])
    np.testing.assert_allclose(built()(batch), singles, atol=1e-5)


def test_logits_lie_on_the_pixels_that_they_come_from():
    x = inputs = keras.Input((None, None, 3))
    for _ in range(4):
        x = keras.layers.Conv2D(3, 3, strides=2, padding="same")(x)
    network = keras.Model(inputs, x)
    model = models.build(
        "deeplab_v2", backbone=network, num_classes=3, output_stride=16, atrous_rates=(1,)
    )
    center = np.zeros((3, 3, 3, 3))
    center[1, 1] = np.eye(3)  # each layer hands on every second pixel
    model.set_weights([center, np.zeros(3)] * 5)
    ramp = np.broadcast_to(np.arange(65, dtype="float32")[:, None], (1, 65, 65))
    image = np.stack([ramp, ramp.transpose(0, 2, 1), ramp], axis=-1)
    np.testing.assert_allclose(model(image), image, atol=1e-4)


@every_architecture
def test_a_backbone_of_ones_own_keeps_its_weights(architecture):
    copied = built(architecture).get_layer("backbone").get_weights()
    for got, weight in zip(copied, backbone().get_weights(), strict=True):
        np.testing.assert_array_equal(got, weight)


def test_layers_are_named_by_their_part():
    parts = {layer.name.split("_")[0] for layer in built().layers}
    assert parts == {"images", "normalization", "padding", "backbone", "aspp", "decoder", "logits"}
    # Learning rates are told apart by these paths.
    paths = {variable.path.split("/")[0].split("_")[0] for variable in built().variables}
    assert {"aspp", "decoder", "logits"} < paths


@pytest.mark.parametrize(("output_stride", "factor"), [(8, 2), (16, 1), (32, 0.5)])
@pytest.mark.parametrize("architecture", ["deeplab_v3", "deeplab_v3_plus"])
def test_atrous_rates_follow_the_output_stride(architecture, output_stride, factor):
    model = built(architecture, output_stride=output_stride)
    rates = [model.get_layer(f"aspp_branch{i}_conv").dilation_rate[0] for i in (1, 2, 3)]
    assert rates == [6 * factor, 12 * factor, 18 * factor]


@pytest.mark.parametrize("architecture", ["deeplab_v3", "deeplab_v3_plus"])
def test_options_of_the_head(architecture, images):
    model = build(architecture, atrous_rates=(), separable=True, channels=6, dropout=0.3)
    names = {layer.name for layer in model.layers}
    assert not [name for name in names if name.startswith("aspp_branch")]
    assert ("decoder_2_depthwise" in names) == (architecture == "deeplab_v3_plus")
    assert model.get_layer("aspp_project_conv").filters == 6
    assert model.get_layer("aspp_dropout").rate == 0.3
    assert model(images(1, 20, 20, 3)).shape == (1, 20, 20, CLASSES)
    separable = build(architecture, separable=True)
    assert separable.get_layer("aspp_branch1_depthwise").dilation_rate == (6, 6)
