"""Weights from a file, and mistakes in the arguments."""

import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from models import ARCHITECTURES
from tests.models.networks import backbone, build, built, twin

FILES = ["model.keras", "model.weights.h5"]


def save(model, path):
    (model.save if path.suffix == ".keras" else model.save_weights)(path)
    return path


@pytest.mark.parametrize("file", FILES)
def test_weights_of_a_file(file, tmp_path, images):
    path = save(built(), tmp_path / file)
    x = images(1, 32, 48, 3)
    keras.utils.set_random_seed(1)
    assert np.any(build()(x) != built()(x))
    np.testing.assert_array_equal(build(weights=path)(x), built()(x))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_weights_of_one_output_stride_fit_the_others(architecture, tmp_path):
    trained = built(architecture, output_stride=16)
    path = save(trained, tmp_path / "model.weights.h5")
    for output_stride in (8, 32):
        model = build(architecture, output_stride=output_stride, weights=str(path))
        for got, weight in zip(model.weights, trained.weights, strict=True):
            assert got.path == weight.path
            np.testing.assert_array_equal(got, weight)


@pytest.mark.parametrize(
    "change",
    [{"num_classes": 7}, {"kind": "pools"}, {"channels": 4}, {"atrous_rates": (6, 12)}],
)
def test_weights_of_another_network(change, tmp_path):
    path = save(built(), tmp_path / "model.weights.h5")
    with pytest.raises(ValueError, match=r"same arguments .* Received: weights=") as error:
        build(weights=path, **change)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("file", FILES)
def test_a_backbone_of_the_same_shapes_is_told_by_its_layers(file, tmp_path):
    path = save(build("deeplab_v2", backbone=twin("caffe")), tmp_path / file)
    with pytest.raises(ValueError, match=r"of other layers, .*: 'caffe_a', .* and 2 more\)"):
        build("deeplab_v2", backbone=twin("pytorch"), weights=path)


def test_files_that_do_not_name_their_layers_are_read(tmp_path):
    """As those of Keras 2."""
    path = save(built("deeplab_v2"), tmp_path / "model.weights.h5")

    def forget(_name, item):
        item.attrs.pop("name", None)

    with h5py.File(path, "a") as file:
        file.visititems(forget)
    model = build("deeplab_v2", weights=path)
    for ours, theirs in zip(model.weights, built("deeplab_v2").weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("file", FILES)
def test_weights_of_another_number_of_classes(file, tmp_path):
    path = save(built(), tmp_path / file)
    with pytest.raises(
        ValueError, match=r", 7 classes\. .*\(its network has \d+ classes\)"
    ) as error:
        build(weights=path, num_classes=7)
    assert f"its network has {built().output_shape[-1]} classes" in str(error.value)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", ["empty", "text", "cut"])
def test_a_damaged_file_of_weights_is_named(file, damage, tmp_path):
    path = save(built("deeplab_v2"), tmp_path / file)
    content = {"empty": b"", "text": b"weights", "cut": path.read_bytes()[:-3000]}[damage]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"whole file .* Received: weights='{path}'") as error:
        build("deeplab_v2", weights=path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("more", [{"upsampling": "deconvolution"}, {"atrous_rates": (1, 2, 3)}])
def test_a_file_that_holds_more_is_refused(file, more, tmp_path):
    options = {"atrous_rates": (1, 2)}
    model = build("deeplab_v2", **{**options, **more})
    model.compile(optimizer="adam", loss="mse")  # what the optimizer keeps does not count
    model.optimizer.build(model.trainable_variables)
    path = save(model, tmp_path / file)
    same = build("deeplab_v2", weights=path, **{**options, **more})
    assert same.count_params() == model.count_params()
    with pytest.raises(ValueError, match=r"it holds \d+ weights; it lacks none; has besides \("):
        build("deeplab_v2", weights=path, **options)


@pytest.mark.parametrize(
    ("value", "reason"),
    [(np.float32(1), "it lacks "), (h5py.Empty("f4"), "its odd is a dataset without a shape")],
)
def test_datasets_that_are_no_weights_are_refused(value, reason, tmp_path):
    path = save(built("deeplab_v2"), tmp_path / "model.weights.h5")
    with h5py.File(path, "a") as file:
        del file["layers/conv2d/vars/1"]
        file["odd"] = value
    with pytest.raises(ValueError, match=reason) as error:
        models.stored_classes(path, built("deeplab_v2"))
    assert "\n" not in str(error.value)


def test_a_compressed_archive_is_refused(tmp_path):
    """A thousandth of its size may stand in the file."""
    path = save(built("deeplab_v2"), tmp_path / "model.keras")
    with zipfile.ZipFile(path) as stored:
        contents = {name: stored.read(name) for name in stored.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as compressed:
        for name, content in contents.items():
            compressed.writestr(name, content)
    with pytest.raises(ValueError, match=r"Received: .* of its archive must not be compressed"):
        models.stored_classes(path, built("deeplab_v2"))
    with pytest.raises(ValueError, match=r"Received: .* of its archive must not be compressed"):
        build("deeplab_v2", weights=path)


def test_a_file_beyond_the_memory_is_refused(tmp_path, monkeypatch):
    path = save(built("deeplab_v2"), tmp_path / "model.keras")

    def read(_archive, _name):
        raise MemoryError

    monkeypatch.setattr(zipfile.ZipFile, "read", read)
    with pytest.raises(ValueError, match="Received: MemoryError"):
        models.stored_classes(path, built("deeplab_v2"))


def save_backbone(model, path):
    return save(model.get_layer("backbone"), path)


def values(model):
    return [weight.numpy() for weight in model.weights]


@pytest.fixture(scope="module")
def trained():
    """Return a backbone of other values than `build` begins with."""
    inner = build("deeplab_v2").get_layer("backbone")
    for i, weight in enumerate(inner.weights):
        weight.assign(np.full(weight.shape, i + 1.0))
    return inner


@pytest.mark.parametrize("file", FILES)
def test_a_backbone_alone_leaves_the_head_to_the_seed(file, trained, tmp_path):
    path = save(trained, tmp_path / file)
    networks = []
    for seed in (0, 1, 1):
        keras.utils.set_random_seed(seed)
        networks.append(build(weights=path))
    first, other, again = networks
    for model in networks:
        for ours, theirs in zip(values(model.get_layer("backbone")), values(trained), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    kernels = [model.get_layer("logits").kernel.numpy() for model in (first, other)]
    assert np.any(kernels[0] != kernels[1])
    for ours, theirs in zip(values(other), values(again), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert models.stored_part(path, first).name == "the backbone alone"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("num_classes", [2, 5])
def test_one_file_serves_all_architectures_and_classes(
    architecture, num_classes, trained, tmp_path
):
    path = save(trained, tmp_path / "model.weights.h5")
    model = build(architecture, num_classes=num_classes, weights=path)
    for got, weight in zip(model.get_layer("backbone").weights, trained.weights, strict=True):
        assert got.path == weight.path
        np.testing.assert_array_equal(got, weight)


@pytest.mark.parametrize("file", FILES)
def test_another_backbone_alone_is_told_by_its_layers(file, tmp_path):
    path = save_backbone(build("deeplab_v2", backbone=twin("caffe")), tmp_path / file)
    with pytest.raises(ValueError, match=r"of other layers, .*: 'caffe_a', .* and 2 more\)"):
        build("deeplab_v2", backbone=twin("pytorch"), weights=path)


def test_a_part_of_a_backbone_is_refused(tmp_path):
    path = save_backbone(built(), tmp_path / "model.weights.h5")
    count = len(built().get_layer("backbone").weights)
    with h5py.File(path, "a") as file:
        del file["layers/conv2d/vars/0"]
    with pytest.raises(ValueError, match=rf"holds {count - 1} weights; it lacks .*none\)") as error:
        build(weights=path)
    assert "\n" not in str(error.value)


def test_a_backbone_with_more_layers_is_refused(tmp_path):
    inner = built().get_layer("backbone")
    more = keras.layers.Conv2D(2, 1, name="more")(inner.outputs[-1])
    path = save(keras.Model(inner.input, more), tmp_path / "model.weights.h5")
    with pytest.raises(ValueError, match=r"has besides \(1, 1, "):
        build(weights=path)


def test_a_backbone_alone_has_no_number_of_classes(tmp_path):
    path = save_backbone(built(), tmp_path / "model.weights.h5")
    with pytest.raises(ValueError, match=r"Received: the backbone alone, .*model\.weights"):
        models.stored_classes(path, built())


def test_existing_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "model.ckpt"
    path.touch()
    with pytest.raises(ValueError, match=r"\('.keras', '.weights.h5'\)"):
        build(weights=path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"architecture": "unet"},
            r"'deeplab_v2', 'deeplab_v3', 'deeplab_v3_plus'\)\. Received: architecture='unet'",
        ),
        ({"backbone": "vgg16"}, r"'resnet101', .*\. Received: backbone='vgg16'"),
        ({"backbone": ["resnet50"]}, r"`backbone` must be .* Received: backbone=\['resnet50'"),
        ({"output_stride": 4}, r"one of \(8, 16, 32\)\. Received: output_stride=4"),
        ({"weights": "nowhere.weights.h5"}, r"\"imagenet\", or the path .* weights='nowhere"),
        ({"weights": "coco"}, r"\"imagenet\", or the path .* weights='coco'"),
        ({"weights": "imagenet"}, "a model has its own. Received: weights='imagenet'"),
        ({"num_classes": 0}, "`num_classes` must be an integer of at least 1"),
        ({"num_classes": 2.5}, "`num_classes` must be an integer .* num_classes=2.5"),
        ({"channels": 0}, "at least 1. Received: channels=0"),
        ({"dropout": -0.1}, "Received: dropout=-0.1"),
        ({"atrous_rates": (6, -1)}, "integers of at least 1. .*-1"),
        ({"batch_norm_momentum": 1.0}, "`batch_norm_momentum` must be in .* Received: 1.0"),
        ({"batch_norm_epsilon": 0}, "`batch_norm_epsilon` must be above 0. Received: 0"),
        ({"batch_norm_epsilon": "a"}, "`batch_norm_epsilon` must be .* Received: 'a'"),
        ({"freeze_batch_norm": 1}, "`freeze_batch_norm` must be .* Received: 1"),
        ({"freeze_batch_norm": "some"}, "`freeze_batch_norm` must be .* Received: 'some'"),
        ({"size": 3}, r"options of deeplab_v3_plus are \('channels', .*Received: size=3"),
        (
            {"architecture": "deeplab_v2", "atrous_rates": ()},
            r"at least 1 integers of at least 1. .*=\(\)",
        ),
        (
            {"architecture": "deeplab_v2", "upsampling": "nearest"},
            r"\('bilinear', 'deconvolution'\). .*'nearest'",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_errors_name_what_is_possible(options, message):
    arguments = {"architecture": "deeplab_v3_plus", "backbone": backbone(), "num_classes": 2}
    arguments |= options
    with pytest.raises(ValueError, match=message) as error:
        models.build(arguments.pop("architecture"), **arguments)
    assert "\n" not in str(error.value)


def test_it_builds_under_a_strategy_scope(two_replicas):
    with two_replicas.scope():
        model = build()
    assert isinstance(model.weights[0].value, tf.distribute.DistributedValues)


def test_options_of_the_architecture_arrive():
    model = build("deeplab_v2", upsampling="deconvolution", output_stride=32)
    assert isinstance(model.get_layer("logits_deconvolution"), keras.layers.Conv2DTranspose)
    assert model.get_layer("logits_deconvolution").strides == (32, 32)
