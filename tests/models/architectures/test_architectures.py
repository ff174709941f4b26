"""What holds for every architecture, and DeepLabV2's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from models import ARCHITECTURES
from models.layers.sizes import ResizeLike

CLASSES = 4

every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)


def build(architecture="deeplab_v2", backbone="efficientnet_lite0", **options):
    return models.build(architecture, backbone=backbone, num_classes=CLASSES, **options)


def all_layers(model):
    for layer in model.layers:
        yield from all_layers(layer) if isinstance(layer, keras.Model) else [layer]


def batch_norm_layers(model):
    layers = all_layers(model)
    return [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]


@every_architecture
@pytest.mark.parametrize("backbone", ["mobilenet_v2", "efficientnet_lite0"])  # both grids
def test_any_size(architecture, backbone, images):
    model = build(architecture, backbone)
    for sides in ((1, 1), (7, 5), (33, 41), (64, 96)):
        logits = model(images(2, *sides, 3))
        assert logits.shape == (2, *sides, CLASSES)
        assert np.isfinite(logits).all()


@every_architecture
def test_weights_of_one_output_stride_fit_the_others(architecture, tmp_path, images):
    trained = build(architecture, output_stride=16)
    trained.save_weights(tmp_path / "model.weights.h5")
    for output_stride in (8, 32):
        model = build(
            architecture, output_stride=output_stride, weights=tmp_path / "model.weights.h5"
        )
        for got, weight in zip(model.weights, trained.weights, strict=True):
            assert got.path == weight.path
            np.testing.assert_array_equal(got, weight)


@every_architecture
def test_trained_saved_and_loaded_it_gives_the_same_logits(architecture, tmp_path, images):
    model = build(architecture)
    x = images(2, 33, 41, 3)
    model.compile(
        optimizer=keras.optimizers.SGD(0.01),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        run_eagerly=True,  # tracing takes longer than the step
    )
    model.train_on_batch(x, np.zeros((2, 33, 41)))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(loaded(x), model(x))


def small_network():
    x = inputs = keras.Input((None, None, 3))
    for filters in (4, 8, 8):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same")(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.MaxPooling2D(3, strides=2, padding="same")(x)
    x = keras.layers.AveragePooling2D(3, strides=1, padding="same")(x)
    return keras.Model(inputs, x)


@every_architecture
def test_exported_it_gives_the_same_logits(architecture, tmp_path, images):
    """And saved: with pools that are dilated."""
    model = build(architecture, small_network(), output_stride=8)
    model.save(tmp_path / "model.keras")
    x = images(1, 33, 41, 3)
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "model.keras")(x), model(x))
    model.export(tmp_path / "saved", verbose=False)
    saved = tf.saved_model.load(tmp_path / "saved")
    for sides in ((33, 41), (64, 32)):
        x = images(1, *sides, 3)
        np.testing.assert_allclose(saved.serve(x), model(x), atol=1e-5)


every_policy = pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])


def check_mixed_precision(policy, x, *network, **options):
    keras.config.set_dtype_policy(policy)
    model = build(*network, **options)
    with tf.GradientTape() as tape:
        logits = model(x, training=True)
        value = tf.reduce_mean(tf.square(logits - 1))
    assert logits.dtype == tf.float32
    for gradient in tape.gradient(value, model.trainable_variables):
        assert np.isfinite(gradient).all()


@every_architecture
@every_policy
@pytest.mark.parametrize("backbone", ["mobilenet_v2", "efficientnet_lite0"])
def test_mixed_precision_is_finite(architecture, policy, backbone, images):
    check_mixed_precision(policy, images(1, 33, 41, 3), architecture, backbone)


@pytest.mark.slow
@every_policy
@pytest.mark.parametrize(
    "network",
    [
        ("deeplab_v2", "resnet101"),
        ("deeplab_v3", "resnet101_beta"),
        ("deeplab_v3_plus", "xception_65"),
        ("deeplab_v3_plus", "xception"),  # whose pools are dilated
    ],
    ids="-".join,
)
def test_mixed_precision_of_the_papers_networks_is_finite(network, policy, images):
    check_mixed_precision(policy, images(2, 33, 41, 3), *network, output_stride=8)


def train(model, x):
    """One step; the momentum is such that statistics would move."""
    with tf.GradientTape() as tape:
        value = tf.reduce_mean(tf.square(model(x, training=True) - 1))
    gradients = tape.gradient(value, model.trainable_variables)
    keras.optimizers.SGD(0.1).apply(gradients, model.trainable_variables)


@every_architecture
@pytest.mark.parametrize("freeze", [False, True, "all"])
def test_frozen_batch_norm(architecture, freeze, images):
    model = build(architecture, freeze_batch_norm=freeze, batch_norm_momentum=0.5)
    layers = batch_norm_layers(model)
    before = [layer.get_weights() for layer in layers]
    train(model, images(2, 33, 33, 3))
    for layer, weights in zip(layers, before, strict=True):
        gamma, beta, mean, variance = (
            not np.array_equal(now, then)
            for now, then in zip(layer.get_weights(), weights, strict=True)
        )
        assert (mean and variance) == (freeze is False)
        assert (mean or variance) == (freeze is False)
        assert beta == (freeze != "all"), layer.name
        assert freeze != "all" or not gamma
    assert all(layer.trainable for layer in layers) == (freeze != "all")


@pytest.mark.parametrize("freeze", [True, "all"])
def test_frozen_statistics_are_used_in_training(freeze, images, tmp_path):
    """And the weights of a first stage, in which they move, are those of the second."""
    first = build("deeplab_v2")
    train(first, images(2, 33, 33, 3))
    first.save_weights(tmp_path / "first.weights.h5")
    model = build("deeplab_v2", freeze_batch_norm=freeze, weights=tmp_path / "first.weights.h5")
    np.testing.assert_array_equal(model(images(1, 33, 33, 3)), first(images(1, 33, 33, 3)))
    x = images(2, 33, 33, 3)
    np.testing.assert_array_equal(model(x, training=True), model(x, training=False))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x, training=True), model(x))
    assert len(loaded.trainable_variables) == len(model.trainable_variables)


def test_options_of_batch_norm():
    model = build("deeplab_v3", batch_norm_momentum=0.7, batch_norm_epsilon=0.01)
    layers = batch_norm_layers(model)
    assert all(layer.synchronized for layer in layers)
    assert {layer.momentum for layer in layers} == {0.7}
    head = [layer for layer in layers if layer.name.startswith("aspp")]
    assert {layer.epsilon for layer in head} == {0.01}
    assert {layer.epsilon for layer in layers if layer not in head} == {1e-3}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_norm_momentum": 1}, "`batch_norm_momentum` must be in .* Received: 1"),
        ({"batch_norm_epsilon": 0}, "`batch_norm_epsilon` must be above 0. Received: 0"),
        ({"freeze_batch_norm": 1}, "`freeze_batch_norm` must be .* Received: 1"),
        ({"atrous_rates": ()}, r"at least 1 integers of at least 1. .*=\(\)"),
        ({"atrous_rates": (6, -1)}, "integers of at least 1. .*-1"),
        ({"num_classes": 2.5}, "`num_classes` must be an integer .* num_classes=2.5"),
        ({"batch_norm_epsilon": "a"}, "`batch_norm_epsilon` must be .* Received: 'a'"),
        ({"backbone": ["resnet50"]}, r"`backbone` must be .* Received: backbone=\['resnet50'"),
        ({"freeze_batch_norm": "some"}, "`freeze_batch_norm` must be .* Received: 'some'"),
        ({"upsampling": "nearest"}, r"\('bilinear', 'deconvolution'\). .*'nearest'"),
        ({"num_classes": 0}, "`num_classes` must be an integer of at least 1"),
        ({"output_stride": 4}, "`output_stride` must be one of"),
    ],
)
def test_errors_name_what_is_possible(options, message):
    with pytest.raises(ValueError, match=message) as error:
        models.build("deeplab_v2", **{"backbone": "mobilenet_v2", "num_classes": 2, **options})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("output_stride", "rates"), [(None, [6, 12, 18, 24]), (16, [3, 6, 9, 12]), (32, [1, 3, 4, 6])]
)
def test_rates_of_deeplab_v2_are_stated_for_stride_8(output_stride, rates):
    model = build(output_stride=output_stride)
    found = [model.get_layer(f"aspp_branch{i}").dilation_rate[0] for i in (1, 2, 3, 4)]
    assert found == rates


def test_deeplab_v2_sums_its_classifiers(images):
    model = build()
    branches = [model.get_layer(f"aspp_branch{i}") for i in (1, 2, 3, 4)]
    parts = keras.Model(model.input, [layer.output for layer in branches])(images(1, 33, 33, 3))
    logits = keras.Model(model.input, model.get_layer("logits").output)(images(1, 33, 33, 3))
    np.testing.assert_allclose(sum(parts), logits, atol=1e-6)
    biases = [layer.use_bias for layer in branches]
    assert all(biases)


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("backbone", ["mobilenet_v2", "efficientnet_lite0"])
def test_deconvolution_starts_bilinear(backbone, output_stride, images):
    learnt = build(backbone=backbone, upsampling="deconvolution", output_stride=output_stride)
    size = 97 if backbone == "efficientnet_lite0" else 96
    x = images(1, size, size, 3)
    small = keras.Model(learnt.input, learnt.get_layer("logits").output)(x)
    fixed = ResizeLike(corners=size == 97)([small, x])
    # Where features lie inside of cells, the border half a cell wide fades to 0.
    inner = slice(None) if size == 97 else slice(output_stride // 2, -output_stride // 2)
    np.testing.assert_allclose(
        learnt(x)[:, inner, inner], fixed[:, inner, inner], atol=1e-5 * np.abs(fixed).max()
    )
    assert any("deconvolution" in weight.path for weight in learnt.trainable_variables)


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


@pytest.mark.parametrize("file", ["model.keras", "model.weights.h5"])
@pytest.mark.parametrize("damage", ["empty", "text", "cut"])
def test_a_damaged_file_of_weights_is_named(file, damage, tmp_path):
    path = tmp_path / file
    model = build("deeplab_v2", small_network(), output_stride=8)
    (model.save if file.endswith("keras") else model.save_weights)(path)
    content = {"empty": b"", "text": b"weights", "cut": path.read_bytes()[:-3000]}[damage]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"whole file .* Received: weights='{path}'") as error:
        build("deeplab_v2", small_network(), output_stride=8, weights=path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("file", ["model.keras", "model.weights.h5"])
@pytest.mark.parametrize("more", [{"upsampling": "deconvolution"}, {"atrous_rates": (1, 2, 3)}])
def test_a_file_that_holds_more_is_refused(file, more, tmp_path):
    options = {"atrous_rates": (1, 2)}
    model = build("deeplab_v2", small_network(), **{**options, **more})
    model.compile(optimizer="adam", loss="mse")  # what the optimizer keeps does not count
    model.optimizer.build(model.trainable_variables)
    path = tmp_path / file
    (model.save if file.endswith("keras") else model.save_weights)(path)
    same = build("deeplab_v2", small_network(), weights=path, **{**options, **more})
    assert same.count_params() == model.count_params()
    with pytest.raises(ValueError, match=r"it holds \d+ weights, the network has \d+"):
        build("deeplab_v2", small_network(), weights=path, **options)
