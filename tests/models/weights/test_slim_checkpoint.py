"""DeepLab's checkpoints, of thin networks: every name in its place, the logits they gave there."""

import functools
import shutil

import numpy as np
import pytest
import tensorflow as tf

import models
from models.weights.slim_checkpoint import import_checkpoint, open_checkpoint
from tests.models.networks import built
from tests.models.weights import slim_networks
from tests.models.weights.slim_networks import (
    CLASSES,
    OTHER,
    OTHER_RATES,
    THIN,
    TOLERANCE,
    TRAINING,
    assert_has_values,
    assert_names_all_weights,
    fitted_values,
    pixels,
    reference,
    reference_logits,
    targets_of,
    thin_values,
)
from tests.models.weights.slim_reference import distance, write_checkpoint

CLASSIFIER = {
    "xception_65/logits/weights": np.ones([1, 1, 28, 11], "float32"),
    "xception_65/logits/biases": np.ones([11], "float32"),
    "xception_65/logits/biases/Momentum": np.ones([11], "float32"),
}


def load(model, path, **options):
    return import_checkpoint(model, open_checkpoint(path), **options)


@pytest.fixture(scope="module")
def residual(thin):
    """Build a network on the other backbone; the values of a checkpoint for it."""
    network = models.build(
        "deeplab_v3_plus", backbone="resnet101_beta", atrous_rates=OTHER_RATES, **OTHER
    )
    targets = targets_of("resnet101_beta", branches=len(OTHER_RATES), **OTHER)
    return network, targets, fitted_values("resnet101_beta", targets, rates=OTHER_RATES)


def test_names_are_those_of_all_weights(model, residual):
    assert_names_all_weights(targets_of("xception_65", **THIN), model)
    assert_names_all_weights(residual[1], residual[0])


def assert_imports(model, path):
    """Every weight gets its value."""
    for variable in model.weights:
        variable.assign(np.full(variable.shape, np.nan, "float32"))
    report = load(model, path)
    assert set(report.used) == set(thin_values())
    assert report.unused == report.missing == ()
    assert_has_values(model, targets_of("xception_65", **THIN), thin_values())
    assert all(np.isfinite(variable).all() for variable in model.weights)


def test_the_first_format_of_checkpoints(model, tmp_path):
    version = tf.compat.v1.train.SaverDef.V1
    path = write_checkpoint(tmp_path / "model.ckpt", thin_values(), version=version)
    assert [file.name for file in tmp_path.glob("model*")] == ["model.ckpt"]
    assert_imports(model, path)


def test_the_second_format_of_checkpoints(model, prefix):
    assert_imports(model, prefix)


@pytest.mark.parametrize("sides", [(33, 33), (49, 65)])
def test_logits_are_those_of_the_published_network(model, prefix, sides):
    load(model, prefix)
    images = pixels(1, *sides, 3)
    expected = reference_logits(reference("xception_65", thin_values()), "xception_65", images)
    assert np.std(np.asarray(expected), axis=(1, 2)).min() > 0.01  # no constant maps
    assert distance(model(images), expected) < TOLERANCE


def test_logits_of_the_residual_network(residual, saved):
    network, _, values = residual
    report = load(network, saved(values))
    assert (set(report.used), report.unused, report.missing) == (set(values), (), ())
    images = pixels(1, 33, 49, 3)
    expected = reference("resnet101_beta", values)
    expected = reference_logits(expected, "resnet101_beta", images, OTHER_RATES)
    assert distance(network(images), expected) < TOLERANCE


def test_the_other_scope_of_the_residual_network(residual, saved):
    name = "resnet_v1_101_beta/block4/unit_3/bottleneck_v1/conv3/BatchNorm/moving_mean"
    layer = residual[0].get_layer("backbone").get_layer("block4_unit_3_conv3_bn")
    backbone = {
        key.replace("resnet_v1_101/", "resnet_v1_101_beta/"): value
        for key, value in residual[2].items()
        if key.startswith("resnet_v1_101/")
    }
    backbone[name] = np.full(layer.moving_mean.shape, 3.0, "float32")
    report = load(residual[0], saved(backbone), partial=True)
    assert set(report.used) == set(backbone)
    np.testing.assert_array_equal(layer.moving_mean, backbone[name])


def test_what_a_training_leaves_is_ignored(model, prefix):
    report = load(model, prefix)
    assert report.ignored == tuple(sorted(TRAINING))
    assert report.unused == ()
    assert str(report) == f"{len(model.weights)} used, 0 unused, 0 missing, 4 ignored"


def test_a_backbone_of_imagenet_is_a_part(model, saved):
    backbone = {k: v for k, v in thin_values().items() if k.startswith("xception_65/")}
    path = saved(backbone | CLASSIFIER)
    head = set(thin_values()) - set(backbone)
    with pytest.raises(ValueError, match="unless `partial` is True.* 72 missing.*: image_pool"):
        load(model, path)
    model.get_layer("logits").bias.assign(np.full([CLASSES], 7.0))
    report = load(model, path, partial=True)
    assert set(report.missing) == head
    assert set(report.used) == set(backbone)
    assert report.ignored == tuple(sorted(CLASSIFIER))
    np.testing.assert_array_equal(model.get_layer("logits").bias, np.full([CLASSES], 7.0))


@pytest.fixture
def refused(assert_refused):
    return functools.partial(assert_refused, load)


@pytest.mark.parametrize("partial", [False, True])
def test_a_missing_variable_of_the_backbone(model, saved, refused, partial):
    name = "xception_65/entry_flow/conv1_1/BatchNorm/beta"
    others = {key: value for key, value in thin_values().items() if key != name}
    refused(model, saved(others), f"missing of the backbone: {name}", partial=partial)


def test_a_missing_variable(model, saved, refused):
    values = thin_values()
    name = "decoder/decoder_conv1_pointwise/BatchNorm/moving_mean"
    others = {key: value for key, value in values.items() if key != name}
    others["somewhere/weights"] = np.zeros([3], "float32")
    count = f"{len(values) - 1} used, 1 unused, 1 missing, 0 ignored"
    path = saved(others)
    refused(model, path, count, f"missing: {name}; unused: somewhere/weights")
    before = np.array(model.get_layer("logits").kernel)
    report = load(model, path, partial=True)
    head = {key for key in others if not key.startswith("xception_65/")}
    assert (report.missing, set(report.unused)) == ((name,), head)
    np.testing.assert_array_equal(model.get_layer("logits").kernel, before)


def test_a_surplus_variable(model, saved, refused):
    path = saved(thin_values() | {"somewhere/weights": np.zeros([3], "float32")})
    refused(model, path, "and no others, unless `partial` is True", "unused: somewhere/weights")
    assert load(model, path, partial=True).unused == ("somewhere/weights",)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.nan, "finite numbers of float32"),
        (-np.inf, "finite numbers of float32"),
        (np.float64(1e39), "finite numbers of float32"),
        (np.float32(-0.5), "of at least 0. Received: {name} with -0.5"),
        (np.int32(1), "floating numbers. Received: {name} of int32"),
        (np.bytes_(b"one"), "floating numbers. Received: {name} of object"),
    ],
)
def test_values_that_no_network_has(model, saved, refused, value, reason):
    name = "xception_65/exit_flow/block1/unit_1/xception_module/shortcut/BatchNorm/moving_variance"
    values = thin_values()
    changed = np.full(values[name].shape, value)
    refused(model, saved(values | {name: changed}), reason.format(name=name), name)


@pytest.fixture(scope="module")
def without_decoder(thin):
    return slim_networks.build("deeplab_v3", separable=True)


@pytest.mark.parametrize(
    ("partial", "part"),
    [(False, "unused: decoder/"), (True, "unused of the head: decoder/")],
)
def test_a_head_with_a_decoder_is_not_one_without(without_decoder, prefix, refused, partial, part):
    refused(without_decoder, prefix, "25 unused, 0 missing", part, partial=partial)


@pytest.mark.parametrize("partial", [False, True])
def test_another_shape(model, saved, partial, refused):
    parts = ("logits/semantic/weights", "(1, 1, 12, 19)", f"(1, 1, 12, {CLASSES})")
    few = {"aspp0/weights": thin_values()["aspp0/weights"]}
    few["xception_65/entry_flow/conv1_1/BatchNorm/beta"] = np.zeros([4], "float32")
    few["logits/semantic/weights"] = np.zeros([1, 1, 12, 19], "float32")
    refused(model, saved(few), *parts, partial=partial)


def test_another_number_of_classes(model, saved, refused):
    head = {"logits/semantic/weights": [1, 1, 12, 19], "logits/semantic/biases": [19]}
    values = thin_values() | {name: np.zeros(shape, "float32") for name, shape in head.items()}
    refused(model, saved(values), "import it with --num_classes 19, ", "init_from")


@pytest.mark.parametrize("partial", [False, True])
def test_another_network(model, saved, partial, refused):
    names = ["MobilenetV2/Conv/weights", "resnet_v1_101/conv1/weights"]
    path = saved({name: np.zeros([2], "float32") for name in names})
    refused(model, path, '"xception_65/"', *names, partial=partial)


def test_a_scope_without_a_single_weight(model, saved, refused):
    path = saved({"xception_65/bias": np.zeros([2], "float32")})
    refused(model, path, "0 used, 1 unused", partial=True)


def test_a_network_of_another_backbone(prefix, refused):
    refused(built("deeplab_v3_plus"), prefix, "xception_65", "resnet101_beta")


def test_no_checkpoint(model, tmp_path, refused):
    refused(model, tmp_path / "none.ckpt", "none.ckpt")
    (tmp_path / "text").write_text("no table of tensors" * 100)
    (tmp_path / "text.ckpt.index").write_text("no table of tensors" * 100)
    for name in ("text", "text.ckpt"):
        refused(model, tmp_path / name, name)
    (tmp_path / "empty").mkdir()
    refused(model, tmp_path / "empty", "empty", "in it none")


def test_names_that_cannot_be_printed(model, saved, refused):
    path = saved({"xception_65/a\x1b[31m": np.zeros([2], "float32")})
    refused(model, path, "printable, not 'xception_65/a\\x1b[31m'")


def test_values_cut_short(model, prefix, tmp_path, refused):
    folder = prefix.rpartition("/")[0]
    shutil.copytree(folder, tmp_path / "cut")
    data = tmp_path / "cut" / "model.ckpt.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:1000])
    refused(model, tmp_path / "cut" / "model.ckpt", "Received")


def test_ways_to_name_a_checkpoint(model, prefix, tmp_path, refused):
    folder = tmp_path / "archive"
    shutil.copytree(prefix.rpartition("/")[0], folder)
    count = len(model.weights)
    assert len(load(model, folder).used) == count
    # As in the published archives: the path of another machine, or no such file.
    (folder / "checkpoint").write_text('model_checkpoint_path: "/elsewhere/model.ckpt-30000"\n')
    assert len(load(model, folder).used) == count
    (folder / "checkpoint").unlink()
    files = ("model.ckpt", "model.ckpt.index", "model.ckpt.data-00000-of-00001")
    for path in (folder, *(folder / file for file in files)):
        assert len(load(model, path).used) == count
    shutil.copy(folder / "model.ckpt.index", folder / "other.ckpt.index")
    refused(model, folder, "model.ckpt.index, other.ckpt.index")
