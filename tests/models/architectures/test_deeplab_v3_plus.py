import keras
import numpy as np
import pytest
import tensorflow as tf

import models

CLASSES = 5


def build(backbone="mobilenet_v2", **options):
    options = {"num_classes": CLASSES, "channels": 16, **options}
    return models.build("deeplab_v3_plus", backbone=backbone, **options)


def all_layers(model):
    for layer in model.layers:
        yield from all_layers(layer) if isinstance(layer, keras.Model) else [layer]


@pytest.fixture(scope="module")
def mobile():
    keras.utils.set_random_seed(0)
    return build()


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("sides", [(33, 41), (64, 96), (7, 5), (1, 1)])
def test_logits_have_the_size_of_the_image(mobile, sides, batch, images):
    logits = mobile(images(batch, *sides, 3))
    assert logits.shape == (batch, *sides, CLASSES)
    assert logits.dtype == tf.float32
    assert np.isfinite(logits).all()


@pytest.mark.parametrize("output_stride", [8, 32])
@pytest.mark.parametrize("sides", [(33, 41), (7, 5)])
def test_every_output_stride_takes_every_size(output_stride, sides, images):
    model = build(output_stride=output_stride)
    assert model(images(1, *sides, 3)).shape == (1, *sides, CLASSES)


@pytest.mark.parametrize("backbone", ["resnet50", "resnet101"])
def test_resnets(backbone, images):
    model = build(backbone)
    assert model(images(2, 33, 41, 3)).shape == (2, 33, 41, CLASSES)


def test_image_types_give_the_same_logits(mobile, images):
    pixels = images(1, 32, 32, 3).astype("uint8")
    expected = mobile(pixels.astype("float32"))
    for dtype in ("uint8", "int32", "float16", "float64"):
        np.testing.assert_array_equal(mobile(pixels.astype(dtype)), expected)


def test_a_batch_is_its_images(mobile, images):
    batch = images(2, 40, 56, 3)
    singles = np.concatenate([mobile(batch[:1]), mobile(batch[1:])])
    np.testing.assert_allclose(mobile(batch), singles, atol=1e-5)


def test_traced_with_unknown_sizes(mobile, images):
    traced = tf.function(
        lambda x: mobile(x, training=False),
        input_signature=[tf.TensorSpec([None, None, None, 3])],
    )
    for sides in ((33, 41), (16, 7)):
        x = images(1, *sides, 3)
        np.testing.assert_allclose(traced(x), mobile(x), atol=1e-5)


def test_saved_model_gives_the_same_logits(mobile, tmp_path, images):
    mobile.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for x in (images(1, 33, 41, 3), images(2, 64, 96, 3)):
        np.testing.assert_array_equal(loaded(x), mobile(x))


@pytest.mark.parametrize("file", ["model.keras", "model.weights.h5"])
def test_weights_of_a_file(mobile, file, tmp_path, images):
    path = tmp_path / file
    (mobile.save if file.endswith(".keras") else mobile.save_weights)(path)
    x = images(1, 32, 48, 3)
    np.testing.assert_array_equal(build(weights=path)(x), mobile(x))
    for copied, weight in zip(
        build(weights=str(path), output_stride=8).get_weights(), mobile.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(copied, weight)


@pytest.mark.parametrize(
    "change",
    [{"num_classes": 7}, {"backbone": "resnet50"}, {"channels": 8}, {"atrous_rates": (6, 12)}],
)
def test_weights_of_another_network(mobile, change, tmp_path):
    mobile.save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(ValueError, match=r"same arguments .* Received: weights=") as error:
        build(weights=tmp_path / "model.weights.h5", **change)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "resnet50"])
def test_every_batch_norm_is_synchronized_and_follows_the_momentum(backbone):
    layers = [
        layer
        for layer in all_layers(build(backbone, batch_norm_momentum=0.9))
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert len(layers) > 50
    assert all(layer.synchronized for layer in layers)
    assert {layer.momentum for layer in layers} == {0.9}
    head = {"aspp", "decoder"}
    assert {x.epsilon for x in layers if x.name.split("_")[0] in head} == {1e-5}


def test_layers_are_named_by_their_part(mobile):
    parts = {layer.name.split("_")[0] for layer in mobile.layers}
    assert parts == {"images", "normalization", "padding", "backbone", "aspp", "decoder", "logits"}
    # Learning rates are told apart by these paths.
    paths = {variable.path.split("/")[0].split("_")[0] for variable in mobile.variables}
    assert {"aspp", "decoder", "logits"} < paths


def test_published_width_is_the_default_of_a_resnet():
    widths = {
        name: models.build("deeplab_v3_plus", backbone=name, num_classes=2)
        .get_layer("aspp_project_conv")
        .filters
        for name in ("mobilenet_v2", "resnet50")
    }
    assert widths == {"mobilenet_v2": 64, "resnet50": 256}


@pytest.mark.parametrize(("output_stride", "factor"), [(8, 2), (16, 1), (32, 0.5)])
def test_atrous_rates_follow_the_output_stride(output_stride, factor):
    model = build(output_stride=output_stride, separable=False)
    rates = [model.get_layer(f"aspp_branch{i}_conv").dilation_rate[0] for i in (1, 2, 3)]
    assert rates == [6 * factor, 12 * factor, 18 * factor]


def test_pyramid_without_atrous_branches(images):
    model = build(atrous_rates=())
    assert not [layer for layer in model.layers if layer.name.startswith("aspp_branch")]
    assert model(images(1, 20, 20, 3)).shape == (1, 20, 20, CLASSES)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_logits_stay_float32_in_mixed_precision(policy, images):
    keras.config.set_dtype_policy(policy)
    model = build()
    assert model.get_layer("aspp_1x1_conv").compute_dtype == policy.removeprefix("mixed_")
    for name in ("normalization", "logits", "logits_resize", "logits_crop"):
        assert model.get_layer(name).compute_dtype == "float32"
    logits = model(images(1, 33, 41, 3))
    assert logits.dtype == tf.float32
    # The classifier's sums are not those of a rounded layer.
    assert np.any(logits != tf.cast(tf.cast(logits, policy.removeprefix("mixed_")), tf.float32))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"architecture": "unet"},
            r"'deeplab_v2', 'deeplab_v3', 'deeplab_v3_plus'\)\. Received: architecture='unet'",
        ),
        ({"backbone": "vgg16"}, r"'resnet101', .*\. Received: backbone='vgg16'"),
        ({"output_stride": 4}, r"one of \(8, 16, 32\)\. Received: output_stride=4"),
        ({"weights": "nowhere.weights.h5"}, r"\"imagenet\", or the path .* weights='nowhere"),
        ({"weights": "coco"}, r"\"imagenet\", or the path .* weights='coco'"),
        ({"num_classes": 0}, "at least 1. Received: num_classes=0"),
        ({"channels": 0}, "at least 1. Received: channels=0"),
        ({"batch_norm_momentum": 1.0}, "`batch_norm_momentum` .* Received: 1.0"),
        ({"dropout": -0.1}, "Received: dropout=-0.1"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_errors_name_what_is_possible(change, message):
    arguments = {"architecture": "deeplab_v3_plus", "backbone": "mobilenet_v2", "num_classes": 2}
    arguments |= change
    with pytest.raises(ValueError, match=message) as error:
        models.build(arguments.pop("architecture"), **arguments)
    assert "\n" not in str(error.value)


def test_existing_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "model.ckpt"
    path.touch()
    with pytest.raises(ValueError, match=r"\('.keras', '.weights.h5'\)"):
        build(weights=path)
