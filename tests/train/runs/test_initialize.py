"""A run that begins with the weights of another one."""

import re
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from models.builder import build
from savedmodels import export
from tests.commands import TINY_RUN, assert_one_line
from tests.models.networks import backbone, twin
from tests.train.small_network import STEPS
from tests.train.small_network import small_networks as networks_of_tests
from train.common.errors import UserError
from train.config import FitConfig, ModelConfig, TrainerConfig
from train.data.datasets.registry import SCENES
from train.runs.begin import first_model
from train.runs.initialize import initialize_from
from train.runs.load import load_trained

pytestmark = pytest.mark.usefixtures("small_networks")


def network(num_classes, name="deeplab_v3_plus"):
    return models.build(name, num_classes=num_classes)


def initialize(model, source, **options):
    config = FitConfig(init_from=source, model=ModelConfig(**options))
    initialize_from(model, config, SCENES)


def values(model):
    return [weight.numpy() for weight in model.weights]


def assert_equal(weights, expected):
    for ours, theirs in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_same_classes_take_all_weights(trained_run, capsys):
    _, dataset, trained = load_trained(trained_run)
    model = network(dataset.num_classes)
    initialize(model, trained_run)
    for ours, theirs in zip(model.weights, trained.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    out = capsys.readouterr().out
    assert (
        f"First weights: {len(model.weights)} of {trained_run} at step {STEPS} of {STEPS}\n" in out
    )


def test_what_shapes_do_not_show_is_said(trained_run, tmp_path, capsys):
    run = shutil.copytree(trained_run, tmp_path / "run")
    model = network(load_trained(run)[1].num_classes)
    initialize(model, run, options={"atrous_rates": [3, 6, 9]})
    assert (
        f"model.options.atrous_rates was None in {run}, now [3, 6, 9]\n" in capsys.readouterr().out
    )


def test_nothing_is_no_source(tmp_path):
    with pytest.raises(
        UserError, match=r"^init_from: there is no [^\n]*/none: expected the folder"
    ):
        initialize(network(3), tmp_path / "none")


@pytest.mark.parametrize("name", ["first.h5", "resnet.pth", "model.ckpt.index"])
def test_a_file_of_another_kind_is_no_source(tmp_path, name):
    path = tmp_path / name
    path.touch()
    with pytest.raises(UserError, match=rf"^init_from: {path}: expected the folder of a run or of"):
        initialize(network(3), path)


def test_a_folder_that_is_no_run_is_named_once(tmp_path):
    message = rf"^init_from: {tmp_path} is no run: no file {tmp_path}/config.yaml$"
    with pytest.raises(UserError, match=message):
        initialize(network(3), tmp_path)


def test_what_is_wrong_in_the_configuration_of_a_run_is_said_to_be_there(trained_run, tmp_path):
    run = shutil.copytree(trained_run, tmp_path / "run")
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("name: scenes", "name: folder", 1))
    with pytest.raises(UserError, match=rf"^init_from: {run}: no file .*classes\.yaml") as error:
        initialize(network(3), run)
    assert str(error.value).count("init_from") == 1


def test_a_first_stage_that_was_stopped_is_said_to_be(trained_run, tmp_path, capsys):
    run = shutil.copytree(trained_run, tmp_path / "run")
    for path in (run / "checkpoints").glob(f"ckpt-{STEPS}.*"):
        path.unlink()
    initialize(network(load_trained(run)[1].num_classes), run)
    assert re.search(rf"at step \d+ of {STEPS}, not its last one$", capsys.readouterr().out, re.M)


def test_other_classes_have_a_new_head(trained_run, capsys):
    trained = load_trained(trained_run)[2]
    model = network(3)
    before = [weight.numpy() for weight in model.weights]
    initialize(model, trained_run)
    *body, kernel, bias = model.weights
    for ours, theirs in zip(body, trained.weights, strict=False):
        np.testing.assert_array_equal(ours, theirs)
    for weight, old in zip((kernel, bias), before[-2:], strict=True):
        np.testing.assert_array_equal(weight, old)
    out = capsys.readouterr().out
    assert f"; new, for other classes than scenes's: {kernel.path}, {bias.path}\n" in out


def test_another_network_is_refused(train, trained_run, scenes_root, tmp_path, monkeypatch):
    def other(name, *, num_classes, **_options):
        built.append(name)
        layers = [keras.Input((None, None, 3)), keras.layers.Conv2D(num_classes, 3, padding="same")]
        return keras.Sequential(layers) if len(built) == 1 else small(name, num_classes=num_classes)

    built, small = [], models.build
    monkeypatch.setattr(models, "build", other)
    run = tmp_path / "run"
    options = [f"--run={run}", f"--data.root={scenes_root}", f"--init_from={trained_run}"]
    outcome = train("fit", *options, *TINY_RUN)
    assert_one_line(outcome, "init_from: the network of", "is another one, deeplab_v3_plus on")
    assert not run.exists()


def test_a_run_on_another_backbone_is_refused_whatever_the_shapes(trained_run):
    model = network(load_trained(trained_run)[1].num_classes)
    before = values(model)
    with pytest.raises(UserError, match=r"another one, deeplab_v3_plus on mobilenet_v2: choose"):
        initialize(model, trained_run, backbone="resnet50")
    assert_equal(values(model), before)


@pytest.mark.full
def test_a_second_stage_resumes_without_the_first(train, trained_run, tmp_path, scenes_root):
    first = shutil.copytree(trained_run, tmp_path / "first")
    options = [f"--run={tmp_path}/run", f"--data.root={scenes_root}", f"--init_from={first}"]
    done = train("fit", *options, *TINY_RUN, "--loss=SoftmaxCrossEntropy")
    assert done.status == 0
    assert f"of {first}" in done.out
    shutil.rmtree(first)
    again = train("fit", *options, *TINY_RUN, "--loss=SoftmaxCrossEntropy")
    assert again.status == 0
    assert "is finished" in again.out


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--init_from=nowhere"], ["init_from: there is no nowhere: expected the folder of a run"]),
        (
            ["--init_from=nowhere", "--model.weights=imagenet"],
            ["init_from and model.weights are both given (nowhere, imagenet)"],
        ),
    ],
)
def test_what_is_wrong_is_named(train, scenes_root, tmp_path, options, parts):
    run = tmp_path / "run"
    outcome = train("fit", f"--run={run}", f"--data.root={scenes_root}", *TINY_RUN, *options)
    assert_one_line(outcome, *parts)
    assert not run.exists()


@pytest.fixture
def deeplab(monkeypatch):
    """Build DeepLab on a small backbone, whatever the configuration asks for."""

    def make(name="deeplab_v2", *, num_classes, weights=None, **options):
        known = {k: v for k, v in options.items() if k in ("upsampling", "atrous_rates")}
        return build(name, backbone=backbone(), num_classes=num_classes, weights=weights, **known)

    monkeypatch.setattr(models, "build", make)
    return make


@pytest.mark.parametrize("suffix", models.WEIGHT_FILES)
def test_a_file_of_the_same_classes_gives_all_weights(deeplab, tmp_path, capsys, suffix):
    path = tmp_path / f"first{suffix}"
    first, model = deeplab(num_classes=11), deeplab(num_classes=11)
    first.save(path) if suffix == ".keras" else first.save_weights(path)
    initialize(model, path, name="deeplab_v2")
    assert_equal(values(model), values(first))
    assert capsys.readouterr().out == f"First weights: {len(model.weights)} of {path}\n"


@pytest.mark.parametrize("upsampling", ["bilinear", "deconvolution"])
def test_a_file_of_other_classes_gives_all_but_the_head(deeplab, tmp_path, capsys, upsampling):
    options = {"upsampling": upsampling}
    path = tmp_path / "first.weights.h5"
    first = deeplab(num_classes=21, **options)
    first.save_weights(path)
    model = deeplab(num_classes=11, **options)
    before, head = values(model), [w.path for w in model.weights if w.shape[-1] == 11]
    initialize(model, path, name="deeplab_v2", options=options)
    body = len(before) - len(head)
    assert_equal(values(model)[:body], values(first)[:body])
    assert_equal(values(model)[body:], before[body:])
    assert len(head) == (8 if upsampling == "bilinear" else 9)
    expected = f"First weights: {body} of {path}; new, for other classes than its 21: "
    assert capsys.readouterr().out == expected + ", ".join(head) + "\n"


@pytest.mark.parametrize("whole", [False, True])
def test_what_a_file_of_weights_leaves_to_the_seed_is_said(deeplab, tmp_path, capsys, whole):
    path = tmp_path / "first.weights.h5"
    first = deeplab(num_classes=11)
    saved = first if whole else first.get_layer("backbone")
    for weight in saved.weights:  # `deeplab` begins with the same backbone each time
        weight.assign(weight.numpy() + 1)
    saved.save_weights(path)
    model = ModelConfig(name="deeplab_v2", weights=str(path))
    heads = []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        config = FitConfig(run=tmp_path / "run", model=model, trainer=TrainerConfig(seed=seed))
        built = first_model(config, SCENES)
        assert_equal(values(built.get_layer("backbone")), values(first.get_layer("backbone")))
        heads.append(values(built.get_layer("aspp_branch1"))[0])
    assert np.array_equal(*heads) == whole
    held = len(saved.weights)
    more = len(first.weights) - held
    part = "the whole network" if whole else "the backbone alone"
    new = "" if whole else f"; new, drawn with trainer.seed 2: the other {more}"
    assert capsys.readouterr().out.endswith(f"First weights: {held} of {path}, {part}{new}\n")


def test_a_file_of_a_backbone_alone_is_for_another_option(deeplab, tmp_path):
    path = tmp_path / "first.weights.h5"
    deeplab(num_classes=21).get_layer("backbone").save_weights(path)
    with pytest.raises(UserError, match=r"^init_from: .*: the backbone alone, .* model\.weights"):
        initialize(deeplab(num_classes=11), path, name="deeplab_v2")


@pytest.mark.parametrize(("before", "now"), [(3, 21), (21, 3), (8, 21), (21, 8), (64, 8)])
def test_classes_as_many_as_a_kernel_has_rows_or_channels(deeplab, tmp_path, before, now):
    path = tmp_path / "first.weights.h5"
    deeplab(num_classes=before, upsampling="deconvolution").save_weights(path)
    model = deeplab(num_classes=now, upsampling="deconvolution")
    assert models.stored_classes(path, model) == before


def test_a_file_of_another_network_is_refused(deeplab, tmp_path):
    path = tmp_path / "first.weights.h5"
    deeplab(num_classes=21, atrous_rates=[6, 12]).save_weights(path)
    model = deeplab(num_classes=11)
    before = values(model)
    count = len(before)
    message = (
        rf"^init_from: {path} must hold the {count} weights of deeplab_v2, but for the number of "
        rf"classes\. Received: {count - 4} weights; it lacks \(3, 3, 8, 11\), .*; has besides \(3, "
    )
    with pytest.raises(UserError, match=message):
        initialize(model, path, name="deeplab_v2")
    assert_equal(values(model), before)


@pytest.mark.parametrize("content", [None, b"", b"no weights"])
def test_a_file_that_cannot_be_read_is_refused(deeplab, tmp_path, content):
    path = tmp_path / "first.weights.h5"
    if content is not None:
        path.write_bytes(content)
    model = deeplab(num_classes=11)
    with pytest.raises(UserError, match=r"^init_from: [^\n]*first\.weights\.h5[^\n]*$"):
        initialize(model, path, name="deeplab_v2")


@pytest.fixture(scope="module")
def exported(trained_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "model"
    with networks_of_tests():
        export.run(export.parser().parse_args([str(trained_run), f"--output={folder}"]))
    return folder


def test_an_export_gives_its_weights(exported, trained_run, capsys):
    _, dataset, trained = load_trained(trained_run)
    model = network(dataset.num_classes)
    initialize(model, exported)
    assert_equal(values(model), values(trained))
    assert f"First weights: {len(model.weights)} of {exported}\n" in capsys.readouterr().out


def test_an_export_of_other_classes_gives_all_but_the_head(exported, trained_run, capsys):
    model = network(3)
    before = values(model)
    initialize(model, exported)
    assert_equal(values(model)[:-2], values(load_trained(trained_run)[2])[:-2])
    assert_equal(values(model)[-2:], before[-2:])
    assert "; new, for other classes than its 11: " in capsys.readouterr().out


def test_an_export_of_another_network_is_refused(exported, deeplab):
    model = deeplab(num_classes=11)
    before = values(model)
    with pytest.raises(UserError, match=r"^init_from: the network of .* is another one, of other"):
        initialize(model, exported)
    assert_equal(values(model), before)


@pytest.fixture
def twins(monkeypatch):
    """Build two networks whose weights have the same shapes and order."""
    first, second = (
        build("deeplab_v2", backbone=twin(name), num_classes=3) for name in ("caffe", "pytorch")
    )
    monkeypatch.setattr(models, "build", lambda *_arguments, **_options: second)
    return first, second


@pytest.mark.parametrize("suffix", models.WEIGHT_FILES)
def test_a_file_of_another_backbone_is_refused_whatever_the_shapes(twins, tmp_path, suffix):
    (first, second), path = twins, tmp_path / f"first{suffix}"
    first.save(path) if suffix == ".keras" else first.save_weights(path)
    with pytest.raises(UserError, match=r"^init_from: [^\n]*of other layers, [^\n]*'caffe_a'"):
        initialize(second, path, name="deeplab_v2")


def test_an_export_of_another_backbone_is_refused_whatever_the_shapes(twins, tmp_path):
    (first, second), folder = twins, tmp_path / "export"
    archive = keras.export.ExportArchive()
    archive.track(first)
    archive.add_endpoint("serve", first.call, [tf.TensorSpec([None, None, None, 3])])
    archive.write_out(folder, verbose=False)
    with pytest.raises(UserError, match=r"^init_from: the network of .* is another one, of other"):
        initialize(second, folder)


def test_a_damaged_export_is_refused(exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "export")
    (folder / "saved_model.pb").write_bytes(b"\xff damaged")
    with pytest.raises(UserError, match=r"^init_from: .* is no whole export \([^\n]*\)$"):
        initialize(network(3), folder)
