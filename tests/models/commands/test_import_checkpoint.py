import os
import platform
import subprocess
import sys

import numpy as np
import pytest

import models
from tests.commands import assert_one_line, command
from tests.models.backbones.torch_files import archive
from tests.models.networks import THIN_WIDTHS
from tests.models.weights import slim_networks
from tests.models.weights.caffe_files import caffemodel
from tests.models.weights.resnet_reference import caffe_layers, state_dict
from tests.models.weights.slim_networks import (
    CLASSES,
    THIN,
    TRAINING,
    assert_has_values,
    targets_of,
    thin_values,
)


@pytest.fixture
def run(monkeypatch, capfd):
    def run(*arguments):
        return command(monkeypatch, capfd, "models", "import-checkpoint", *arguments)

    return run


@pytest.fixture
def asked(monkeypatch, model):
    """Hand the command a network that is built; list what it asked for."""
    asked = []

    def build(architecture, **options):
        asked.append((architecture, options))
        return model

    monkeypatch.setattr("models.builder.build", build)
    return asked


def test_it_writes_weights(run, asked, model, prefix, tmp_path):
    output = tmp_path / "deeplab.weights.h5"
    outcome = run(prefix, "--output", output)
    assert (outcome.status, outcome.err) == (0, "")
    assert asked == [("deeplab_v3_plus", {"backbone": "xception_65", "num_classes": CLASSES})]
    lines = outcome.out.splitlines()
    assert set(lines[:-2]) == {
        *(f"used    {name}" for name in thin_values()),
        *(f"ignored {name}" for name in TRAINING),
    }
    counts = f"{len(thin_values())} used, 0 unused, 0 missing, {len(TRAINING)} ignored"
    assert lines[-2:] == [f"Variables: {counts}", f"Weights of the whole network: {output}"]
    assert [*tmp_path.iterdir()] == [output]
    model.load_weights(output)
    assert_has_values(model, targets_of("xception_65", **THIN), thin_values())


@pytest.mark.usefixtures("asked")
def test_what_killed_processes_left_is_removed_and_no_more(run, prefix, tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    name, here, number = "deeplab.weights.h5", platform.node(), ended.pid
    left = tmp_path / f".{here}-{number}-{name}"
    others = [f".{here}-{os.getppid()}-{name}", f".{here}-{number}-other.weights.h5"]
    others += [f".another.host-{number}-{name}", f".my-{name}"]
    for path in (left, *(tmp_path / other for other in others)):
        path.write_bytes(b"a part")
    assert run(prefix, "--output", tmp_path / name).status == 0
    assert {path.name for path in tmp_path.iterdir()} == {name, *others}


@pytest.mark.usefixtures("asked")
def test_weights_are_on_the_disk_before_they_get_their_name(run, prefix, tmp_path, monkeypatch):
    order, replace, flush = [], os.replace, os.fsync
    monkeypatch.setattr("os.fsync", lambda file: (order.append("flush"), flush(file)))
    monkeypatch.setattr("os.replace", lambda *paths: (order.append("name"), replace(*paths)))
    assert run(prefix, "--output", tmp_path / "deeplab.weights.h5").status == 0
    assert order[-2:] == ["flush", "name"]


@pytest.mark.usefixtures("asked")
def test_a_full_disk_is_one_line(run, model, prefix, tmp_path, monkeypatch):
    def fail(path, **_options):
        path.write_bytes(b"a part")
        raise RuntimeError("Can't decrement id ref count (No space left on device)")

    monkeypatch.setattr(model, "save_weights", fail)
    output = tmp_path / "deeplab.weights.h5"
    assert_one_line(run(prefix, "--output", output), f"{output} cannot be written: ", "No space")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.usefixtures("asked")
def test_it_names_what_is_missing(run, saved, tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    output = folder / "part.weights.h5"
    backbone = {k: v for k, v in thin_values().items() if k.startswith("xception_65/")}
    path = saved(backbone | {"other": np.zeros([2], "float32")})
    arguments = (path, "--output", output)
    assert_one_line(
        run(*arguments), "models: error: ", f"{len(backbone)} used, 1 unused", "partial"
    )
    assert [*folder.iterdir()] == []
    outcome = run(*arguments, "--partial=true")
    assert outcome.status == 0
    lines = outcome.out.splitlines()
    assert set(lines[:-2]) == {
        *(f"used    {name}" for name in backbone),
        "unused  other",
        *(f"missing {name}" for name in thin_values() if name not in backbone),
    }
    assert lines[-1] == f"Weights of the backbone alone: {output}"
    assert [*folder.iterdir()] == [output]


@pytest.mark.usefixtures("asked")
def test_a_file_without_logits_serves_any_number_of_classes(run, saved, tmp_path):
    output = tmp_path / "coco.weights.h5"
    logits = ("logits/semantic/weights", "logits/semantic/biases")
    body = {name: value for name, value in thin_values().items() if name not in logits}
    outcome = run(saved(body), "--output", output, "--partial=true")
    assert outcome.out.splitlines()[-1] == f"Weights of all but the logits: {output}"
    model = slim_networks.build(num_classes=2, weights=output)
    targets = targets_of("xception_65", **THIN)
    assert_has_values(model, {name: targets[name] for name in body}, body)
    assert models.stored_part(output, model).name == "all but the logits"


@pytest.mark.usefixtures("asked")
def test_a_part_of_a_head_is_left_out_with_the_rest_of_it(run, model, saved, tmp_path):
    output = tmp_path / "backbone.weights.h5"
    lacking = thin_values().copy()
    lacking.pop("aspp0/weights")
    outcome = run(saved(lacking), "--output", output, "--partial=true")
    assert {"unused  logits/semantic/weights", "missing aspp0/weights"} <= {
        *outcome.out.splitlines()
    }
    assert models.stored_part(output, model).name == "the backbone alone"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["subcommand", "import-checkpoint"]),
        (["export"], ["'export'", "import-checkpoint"]),
        (["import-checkpoint"], ["required: ", "checkpoint", "output"]),
        (["import-checkpoint", "c", "--output", "w.h5"], ["w.h5", ".weights.h5"]),
        (["import-checkpoint", "c", "--output", "no/w.weights.h5"], ["no folder no"]),
        (["import-checkpoint", "c", "--output", "d.weights.h5"], ["it is a folder"]),
        (
            ["import-checkpoint", "c", "--output", "w.weights.h5", "--backbone", "resnet50"],
            ["resnet50", "xception_65", "resnet101_beta", "resnet101_caffe", "resnet101_pytorch"],
        ),
        (
            ["import-checkpoint", "c", "--output", "w.weights.h5"],
            [
                "--backbone xception_65 takes a checkpoint of TensorFlow: `checkpoint` must be",
                "'c'",
            ],
        ),
        (
            ["import-checkpoint", "t", "--output", "w.weights.h5", "--backbone=resnet101_caffe"],
            ["resnet101_caffe takes a .caffemodel: ", "must be a .caffemodel file", "'t'"],
        ),
        (
            ["import-checkpoint", "t", "--output", "w.weights.h5", "--backbone=resnet101_pytorch"],
            ["resnet101_pytorch takes a .pth: ", "must be a .pth file", "'t'"],
        ),
        (
            ["import-checkpoint", "no", "--output", "w.weights.h5", "--backbone=resnet101_caffe"],
            ["No such file", "'no'"],
        ),
    ],
    ids=lambda value: " ".join(value) if value else "nothing",
)
def test_a_mistake_is_one_line(monkeypatch, capfd, tmp_path, arguments, parts):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.weights.h5").mkdir()
    (tmp_path / "t").write_text("no weights")
    assert_one_line(command(monkeypatch, capfd, "models", *arguments), *parts)
    assert {path.name for path in tmp_path.iterdir()} == {"d.weights.h5", "t"}


@pytest.mark.usefixtures("asked")
def test_it_leaves_nothing_without_a_checkpoint(run, tmp_path):
    outcome = run(tmp_path / "none.ckpt", "--output", tmp_path / "w.weights.h5")
    assert_one_line(outcome, "none.ckpt")
    assert [*tmp_path.iterdir()] == []


def test_options_arrive(run, asked, prefix, tmp_path):
    options = ("--num_classes", 19, "--backbone", "resnet101_beta", "--separable=false")
    run(prefix, "--output", tmp_path / "w.weights.h5", *options)
    expected = {"backbone": "resnet101_beta", "num_classes": 19, "separable": False}
    assert asked == [("deeplab_v3_plus", expected)]


@pytest.fixture(scope="module")
def networks(thin_resnet_101):
    """Build the networks of the two tests below: fixtures may take their time."""
    options = {"num_classes": 3, "upsampling": "deconvolution"}
    return {
        name: models.build("deeplab_v2", backbone=name, **options)
        for name in ("resnet101_caffe", "resnet101_pytorch")
    }


@pytest.fixture
def built(monkeypatch, networks):
    """Hand them to the command; list what it asked for."""
    asked = []

    def build(architecture, backbone, **options):
        asked.append((architecture, options))
        return networks[backbone]

    monkeypatch.setattr("models.builder.build", build)
    return asked


def test_weights_of_caffe(run, built, networks, tmp_path):
    """A learnt upsampling is no part of the file, and keeps its values."""
    path, output = tmp_path / "net.caffemodel", tmp_path / "voc.weights.h5"
    layers = caffe_layers(THIN_WIDTHS, 3)
    path.write_bytes(caffemodel(layers))
    options = ("--backbone=resnet101_caffe", "--num_classes=3", "--upsampling=deconvolution")
    outcome = run(path, "--output", output, "--architecture=deeplab_v2", *options)
    assert (outcome.status, outcome.err) == (0, "")
    assert built == [("deeplab_v2", {"num_classes": 3, "upsampling": "deconvolution"})]
    assert "used    fc1_voc12_c3/biases" in outcome.out.splitlines()
    network = networks["resnet101_caffe"]
    branch = network.get_layer("aspp_branch4")
    branch.bias.assign(np.zeros(3))
    network.load_weights(output)
    np.testing.assert_array_equal(branch.bias, layers["fc1_voc12_c3"][1])


def test_weights_of_pytorch(run, built, networks, tmp_path):
    path, output = tmp_path / "resnet101.pth", tmp_path / "imagenet.weights.h5"
    values = state_dict(THIN_WIDTHS, deep=False)
    path.write_bytes(archive(values))
    options = ("--architecture=deeplab_v2", "--backbone=resnet101_pytorch", "--num_classes=3")
    outcome = run(path, "--output", output, *options, "--partial=true")
    assert (outcome.status, outcome.err) == (0, "")
    assert built == [("deeplab_v2", {"num_classes": 3})]
    assert {"ignored fc.weight", "missing aspp_branch1/kernel"} <= set(outcome.out.splitlines())
    kernel = networks["resnet101_pytorch"].get_layer("backbone").get_layer("layer3_4_conv2").kernel
    kernel.assign(np.zeros(kernel.shape))
    networks["resnet101_pytorch"].get_layer("backbone").load_weights(output)
    expected = values["layer3.4.conv2.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(kernel, expected)
