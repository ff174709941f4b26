"""DeepLab's own checkpoints: every name in its place, and the logits they gave there."""

import shutil
import subprocess
import sys
from collections import Counter

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from models.weights.slim_checkpoint import import_checkpoint
from models.weights.slim_names import SCOPES, Head, slim_variables
from tests.commands import assert_one_line, command
from tests.models.weights.slim_reference import (
    Reference,
    distance,
    random_values,
    write_checkpoint,
    write_quickly,
)

CLASSES = 21
# Weights and statistics of DeepLabV3+ on Xception-65, 21 classes: those of the Keras port
# github.com/bonlime/keras-deeplab-v3-plus, as github.com/ZFTurbo/Keras-inference-time-optimizer
# lists them in its README.
PUBLISHED = 41_258_213
# A head unlike the published one.
SMALL = {"num_classes": 5, "separable": False, "channels": 32}
SMALL_RATES = (6, 12)
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
CLASSIFIER = {
    "xception_65/logits/weights": np.ones([1, 1, 2048, 11], "float32"),
    "xception_65/logits/biases": np.ones([11], "float32"),
    "xception_65/logits/biases/Momentum": np.ones([11], "float32"),
}
# Of the spread: rounding grows through a hundred layers.
TOLERANCE = 1e-4
FIRST = "xception_65/entry_flow/conv1_1/weights"


def published(**options):
    return models.build("deeplab_v3_plus", backbone="xception_65", num_classes=CLASSES, **options)


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


def fitted(backbone, targets, **options):
    """Values of a checkpoint whose network has features of moderate size."""
    shapes = {name: target.shape for name, target in targets.items()}
    network = reference(backbone, random_values(shapes), fit=True)
    reference_logits(network, backbone, pixels(2, 33, 33, 3), **options)
    return network.values


@pytest.fixture(scope="module")
def values():
    return fitted("xception_65", targets_of("xception_65"))


@pytest.fixture(scope="module")
def model():
    return published()


@pytest.fixture(scope="module")
def prefix(values, tmp_path_factory):
    """A checkpoint of a whole training."""
    path = tmp_path_factory.mktemp("checkpoint") / "model.ckpt"
    return write_checkpoint(path, values | TRAINING)


@pytest.fixture(scope="module")
def residual():
    """A network on the other backbone, and the values of a checkpoint for it."""
    network = models.build(
        "deeplab_v3_plus", backbone="resnet101_beta", atrous_rates=SMALL_RATES, **SMALL
    )
    targets = targets_of("resnet101_beta", branches=len(SMALL_RATES), **SMALL)
    return network, targets, fitted("resnet101_beta", targets, rates=SMALL_RATES)


@pytest.fixture
def saved(tmp_path):
    """Saves arrays by their names, says where."""
    return lambda arrays: write_quickly(tmp_path / "model.ckpt", arrays)


def assert_names_all_weights(targets, network):
    found = Counter(id(weight(network, target)) for target in targets.values())
    assert found == Counter(map(id, network.weights))
    assert all(weight(network, target).shape == target.shape for target in targets.values())


def test_names_are_those_of_all_weights(model, residual):
    assert_names_all_weights(targets_of("xception_65"), model)
    assert_names_all_weights(residual[1], residual[0])


def test_parameters_of_the_published_network(model):
    assert model.count_params() == PUBLISHED


def test_names_of_kernels_that_are_not_separable():
    names = set(slim_variables("xception_65", "head", head=Head(separable=False)))
    # slim.repeat counts from one, inside a scope of the same name.
    assert {f"decoder/decoder_conv0/decoder_conv0_{i}/weights" for i in (1, 2)} < names
    assert "aspp3/BatchNorm/gamma" in names
    assert not [name for name in names if "pointwise" in name]


@pytest.mark.slow
def test_a_network_without_a_decoder(values, saved):
    network = models.build(
        "deeplab_v3", backbone="xception_65", num_classes=CLASSES, separable=True, output_stride=16
    )
    targets = targets_of("xception_65", decoder=False)
    assert_names_all_weights(targets, network)
    report = import_checkpoint(network, saved({name: values[name] for name in targets}))
    assert (set(report.used), report.missing) == (set(targets), ())


def assert_imports(model, path, values):
    """Every weight gets its value."""
    for variable in model.weights:
        variable.assign(np.full(variable.shape, np.nan, "float32"))
    report = import_checkpoint(model, path)
    assert set(report.used) == set(values)
    assert report.unused == report.missing == ()
    for name, target in targets_of("xception_65").items():
        np.testing.assert_array_equal(weight(model, target), values[name])
    assert all(np.isfinite(variable).all() for variable in model.weights)


def test_the_first_format_of_checkpoints(model, values, tmp_path):
    version = tf.compat.v1.train.SaverDef.V1
    path = write_checkpoint(tmp_path / "model.ckpt", values, version=version)
    assert [file.name for file in tmp_path.glob("model*")] == ["model.ckpt"]
    assert_imports(model, path, values)


def test_the_second_format_of_checkpoints(model, values, prefix):
    assert_imports(model, prefix, values)


@pytest.mark.parametrize("sides", [(33, 33), (49, 65)])
def test_logits_are_those_of_the_published_network(model, prefix, values, sides):
    import_checkpoint(model, prefix)
    images = pixels(1, *sides, 3)
    expected = reference_logits(reference("xception_65", values), "xception_65", images)
    assert np.std(np.asarray(expected), axis=(1, 2)).min() > 0.01  # no constant maps
    assert distance(model(images), expected) < TOLERANCE


def test_logits_of_the_residual_network(residual, saved):
    network, _, values = residual
    report = import_checkpoint(network, saved(values))
    assert (set(report.used), report.unused, report.missing) == (set(values), (), ())
    images = pixels(1, 33, 49, 3)
    expected = reference("resnet101_beta", values)
    expected = reference_logits(expected, "resnet101_beta", images, SMALL_RATES)
    assert distance(network(images), expected) < TOLERANCE


def test_the_other_scope_of_the_residual_network(residual, saved):
    name = "resnet_v1_101_beta/block4/unit_3/bottleneck_v1/conv3/BatchNorm/moving_mean"
    report = import_checkpoint(residual[0], saved({name: np.full(2048, 3.0)}), partial=True)
    assert report.used == (name,)
    layer = residual[0].get_layer("backbone").get_layer("block4_unit_3_conv3_bn")
    np.testing.assert_array_equal(layer.moving_mean, np.full(2048, 3.0))


@pytest.mark.slow
def test_features_of_the_backbone_at_another_stride(prefix, values):
    network = published(output_stride=8)
    import_checkpoint(network, prefix)
    images = 2 / 255 * pixels(1, 49, 33, 3) - 1
    backbone = network.get_layer("backbone")
    last = backbone.get_layer("exit_flow_block2_unit_1_separable_conv3_pointwise_relu")
    found = keras.Model(backbone.input, last.output)(images)
    assert distance(found, reference("xception_65", values).backbone(images, 8)) < TOLERANCE


def test_what_a_training_leaves_is_ignored(model, prefix):
    report = import_checkpoint(model, prefix)
    assert report.ignored == tuple(sorted(TRAINING))
    assert report.unused == ()
    assert str(report) == f"{len(model.weights)} used, 0 unused, 0 missing, 4 ignored"


def test_a_backbone_of_imagenet_is_a_part(model, values, saved):
    backbone = {k: v for k, v in values.items() if k.startswith("xception_65/")}
    path = saved(backbone | CLASSIFIER)
    head = set(values) - set(backbone)
    with pytest.raises(ValueError, match="unless `partial` is True.* 72 missing.*: image_pool"):
        import_checkpoint(model, path)
    model.get_layer("logits").bias.assign(np.full([CLASSES], 7.0))
    report = import_checkpoint(model, path, partial=True)
    assert set(report.missing) == head
    assert set(report.used) == set(backbone)
    assert report.ignored == tuple(sorted(CLASSIFIER))
    np.testing.assert_array_equal(model.get_layer("logits").bias, np.full([CLASSES], 7.0))


def assert_refused(model, path, *parts, **options):
    """One line that names all parts, and no weight has changed."""
    before = [np.array(variable) for variable in model.weights]
    with pytest.raises(ValueError, match=r"^`\w+` must .*Received: ") as error:
        import_checkpoint(model, path, **options)
    assert "\n" not in str(error.value)
    for part in parts:
        assert part in str(error.value)
    for variable, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_a_missing_variable(model, values, saved):
    name = "decoder/decoder_conv1_pointwise/BatchNorm/moving_mean"
    others = {key: value for key, value in values.items() if key != name}
    others["somewhere/weights"] = np.zeros([3], "float32")
    count = f"{len(values) - 1} used, 1 unused, 1 missing, 0 ignored"
    path = saved(others)
    assert_refused(model, path, count, f"missing: {name}; unused: somewhere/weights")
    report = import_checkpoint(model, path, partial=True)
    assert (report.missing, report.unused) == ((name,), ("somewhere/weights",))


@pytest.mark.parametrize("partial", [False, True])
def test_another_shape(model, values, saved, partial):
    parts = ("logits/semantic/weights", "(1, 1, 256, 19)", f"(1, 1, 256, {CLASSES})")
    few = {name: values[name] for name in (FIRST, "aspp0/weights")}
    few["logits/semantic/weights"] = np.zeros([1, 1, 256, 19], "float32")
    assert_refused(model, saved(few), *parts, partial=partial)


@pytest.mark.parametrize("partial", [False, True])
def test_another_network(model, saved, partial):
    names = ["MobilenetV2/Conv/weights", "resnet_v1_101/conv1/weights"]
    path = saved({name: np.zeros([2], "float32") for name in names})
    assert_refused(model, path, '"xception_65/"', *names, partial=partial)


def test_a_scope_without_a_single_weight(model, saved):
    path = saved({"xception_65/bias": np.zeros([2], "float32")})
    assert_refused(model, path, "0 used, 1 unused", partial=True)


def test_a_network_of_another_backbone(prefix):
    network = models.build("deeplab_v3_plus", backbone="mobilenet_v2", num_classes=2)
    assert_refused(network, prefix, "xception_65", "resnet101_beta")


def test_no_checkpoint(model, tmp_path):
    assert_refused(model, tmp_path / "none.ckpt", "none.ckpt")
    (tmp_path / "text").write_text("no table of tensors" * 100)
    (tmp_path / "text.ckpt.index").write_text("no table of tensors" * 100)
    for name in ("text", "text.ckpt"):
        assert_refused(model, tmp_path / name, name)
    (tmp_path / "empty").mkdir()
    assert_refused(model, tmp_path / "empty", "empty", "in it none")


def test_values_cut_short(model, prefix, tmp_path):
    folder = prefix.rpartition("/")[0]
    shutil.copytree(folder, tmp_path / "cut")
    data = tmp_path / "cut" / "model.ckpt.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:1000])
    assert_refused(model, tmp_path / "cut" / "model.ckpt", "Received")


def test_ways_to_name_a_checkpoint(model, prefix, tmp_path):
    folder = tmp_path / "archive"
    shutil.copytree(prefix.rpartition("/")[0], folder)
    count = len(model.weights)
    assert len(import_checkpoint(model, folder).used) == count
    # As in the published archives: the path of another machine, or no such file.
    (folder / "checkpoint").write_text('model_checkpoint_path: "/elsewhere/model.ckpt-30000"\n')
    assert len(import_checkpoint(model, folder).used) == count
    (folder / "checkpoint").unlink()
    files = ("model.ckpt", "model.ckpt.index", "model.ckpt.data-00000-of-00001")
    for path in (folder, *(folder / file for file in files)):
        assert len(import_checkpoint(model, path).used) == count
    shutil.copy(folder / "model.ckpt.index", folder / "other.ckpt.index")
    assert_refused(model, folder, "model.ckpt.index, other.ckpt.index")


@pytest.fixture
def run(monkeypatch, capfd):
    def run(*arguments):
        return command(monkeypatch, capfd, "models", "import-checkpoint", *arguments)

    return run


@pytest.fixture
def built(monkeypatch, model):
    """Commands find the network built; what they asked for."""
    asked = []

    def build(architecture, **options):
        asked.append((architecture, options))
        return model

    monkeypatch.setattr("models.builder.build", build)
    return asked


def test_the_command_writes_weights(run, built, model, prefix, values, tmp_path):
    output = tmp_path / "deeplab.weights.h5"
    outcome = run(prefix, "--output", output)
    assert (outcome.status, outcome.err) == (0, "")
    assert built == [("deeplab_v3_plus", {"backbone": "xception_65", "num_classes": CLASSES})]
    lines = outcome.out.splitlines()
    assert set(lines[:-2]) == {
        *(f"used    {name}" for name in values),
        *(f"ignored {name}" for name in TRAINING),
    }
    counts = f"{len(values)} used, 0 unused, 0 missing, {len(TRAINING)} ignored"
    assert lines[-2:] == [f"Variables: {counts}", f"Weights: {output}"]
    assert [*tmp_path.iterdir()] == [output]
    model.load_weights(output)
    for name, target in targets_of("xception_65").items():
        np.testing.assert_array_equal(weight(model, target), values[name])


@pytest.mark.usefixtures("built")
def test_the_command_names_what_is_missing(run, values, saved, tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    output = folder / "part.weights.h5"
    path = saved({FIRST: values[FIRST], "other": np.zeros([2], "float32")})
    arguments = (path, "--output", output)
    assert_one_line(run(*arguments), "import-checkpoint: error: ", "1 used, 1 unused", "partial")
    assert [*folder.iterdir()] == []
    outcome = run(*arguments, "--partial")
    assert outcome.status == 0
    lines = outcome.out.splitlines()
    assert lines[:2] == [f"used    {FIRST}", "unused  other"]
    assert set(lines[2:-2]) == {f"missing {name}" for name in values if name != FIRST}
    assert [*folder.iterdir()] == [output]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["COMMAND"]),
        (["export"], ["'export'", "import-checkpoint"]),
        (["import-checkpoint"], ["import-checkpoint: error: ", "CKPT", "--output"]),
        (["import-checkpoint", "c", "--output", "w.h5"], ["w.h5", ".weights.h5"]),
        (["import-checkpoint", "c", "--output", "no/w.weights.h5"], ["no folder no"]),
        (["import-checkpoint", "c", "--output", "d.weights.h5"], ["it is a folder"]),
        (
            ["import-checkpoint", "c", "--output", "w.weights.h5", "--backbone", "resnet50"],
            ["'resnet50'", "xception_65", "resnet101_beta"],
        ),
        (["import-checkpoint", "c", "--output", "w.weights.h5"], ["`checkpoint` must be", "'c'"]),
    ],
    ids=lambda value: " ".join(value) if value else "nothing",
)
def test_a_mistake_is_one_line(monkeypatch, capfd, tmp_path, arguments, parts):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.weights.h5").mkdir()
    assert_one_line(command(monkeypatch, capfd, "models", *arguments), *parts)
    assert [path.name for path in tmp_path.iterdir()] == ["d.weights.h5"]


@pytest.mark.usefixtures("built")
def test_the_command_without_a_checkpoint(run, tmp_path):
    outcome = run(tmp_path / "none.ckpt", "--output", tmp_path / "w.weights.h5")
    assert_one_line(outcome, "none.ckpt")
    assert [*tmp_path.iterdir()] == []


def test_options_of_the_command(run, built, prefix, tmp_path):
    options = ("--num-classes", 19, "--backbone", "resnet101_beta", "--no-separable")
    run(prefix, "--output", tmp_path / "w.weights.h5", *options)
    expected = {"backbone": "resnet101_beta", "num_classes": 19, "separable": False}
    assert built == [("deeplab_v3_plus", expected)]


@pytest.mark.slow
def test_the_command_in_a_process_of_its_own(prefix, values, tmp_path):
    output = tmp_path / "deeplab.weights.h5"
    arguments = ["import-checkpoint", prefix, "--output", output]
    done = subprocess.run(
        [sys.executable, "-m", "models", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"Weights: {output}\n")
    network = published(weights=output)
    for name, target in targets_of("xception_65").items():
        np.testing.assert_array_equal(weight(network, target), values[name])
