"""DeepLabV2's .caffemodel files, of a thin network: what Caffe computes, and files that differ."""

import functools

import keras
import numpy as np
import pytest

import models
from models.weights.caffe_checkpoint import import_caffemodel
from models.weights.caffe_file import read_caffemodel
from tests.models.networks import THIN_WIDTHS, built, in_float64
from tests.models.weights.caffe_files import caffemodel
from tests.models.weights.resnet_reference import Caffe, caffe_layers, pool
from tests.models.weights.slim_networks import pixels
from tests.models.weights.slim_reference import distance

CLASSES = 5
# Of the spread: logits are resized in float32.
TOLERANCE = 1e-6


def load(model, path, **options):
    return import_caffemodel(model, read_caffemodel(path), **options)


@pytest.fixture(scope="module")
def network(thin_resnet_101):
    """Build DeepLabV2; in float64, as the rounding of float32 grows through its layers."""
    with in_float64():
        return models.build("deeplab_v2", backbone="resnet101_caffe", num_classes=CLASSES)


@functools.cache
def layers():
    """Return the layers of a trained network; nobody may change them."""
    drawn = caffe_layers(THIN_WIDTHS, CLASSES)
    Caffe(drawn, fit=True).logits(pixels(2, 33, 41, 3))
    return drawn


def reset(model):
    for variable in model.weights:
        variable.assign(np.full(variable.shape, np.nan, "float32"))


@pytest.mark.parametrize("sides", [(33, 41), (57, 49)])
def test_logits_are_those_of_caffe(network, written, sides):
    reset(network)
    report = load(network, written(caffemodel(layers())))
    assert len(report.used) == len(network.weights)
    assert (report.unused, report.missing, report.ignored) == ((), (), ())
    images = pixels(1, *sides, 3)
    expected = Caffe(layers()).logits(images)
    assert np.std(expected, axis=(1, 2)).min() > 0.01  # no constant maps
    assert distance(network(images), expected) < TOLERANCE


def test_pooling_of_other_sides():
    """Caffe's counts cut windows too; on the sides above there are none behind the first kernel."""
    odd, even = (pixels(1, side, side, 1).astype("float64") for side in (17, 18))
    np.testing.assert_array_equal(pool(odd, up=True), pool(odd, up=False))
    larger = pool(even, up=True)
    assert larger.shape == (1, 10, 10, 1)
    np.testing.assert_array_equal(larger[:, :-1, :-1], pool(even, up=False))
    np.testing.assert_array_equal(larger[:, -1, -1], even[:, -1, -1])


def test_every_weight_gets_its_own_values(network, written):
    """The factor of the statistics is divided by, kernels end in their outputs."""
    load(network, written(caffemodel(layers())))
    backbone = network.get_layer("backbone")
    kernel = backbone.get_layer("res4b4_branch2b").kernel
    np.testing.assert_array_equal(kernel, layers()["res4b4_branch2b"][0].transpose(2, 3, 1, 0))
    norm = backbone.get_layer("res4b4_branch2b_bn")
    assert norm.epsilon == 1e-5
    mean, variance, factor = layers()["bn4b4_branch2b"]
    gamma, beta = layers()["scale4b4_branch2b"]
    np.testing.assert_allclose(norm.moving_mean, mean / factor, rtol=1e-6)
    np.testing.assert_allclose(norm.moving_variance, variance / factor, rtol=1e-6)
    np.testing.assert_array_equal(norm.gamma, gamma)
    np.testing.assert_array_equal(norm.beta, beta)


def test_statistics_that_caffe_has_not_begun(network, written):
    mean, variance, _ = layers()["bn_conv1"]
    begun = layers() | {"bn_conv1": [mean + 1, variance, np.zeros(1, "float32")]}
    load(network, written(caffemodel(begun)))
    norm = network.get_layer("backbone").get_layer("conv1_bn")
    assert not np.any(norm.moving_mean)
    assert not np.any(norm.moving_variance)


@pytest.mark.parametrize("form", [{"old": True}, {"packed": False}])
def test_other_forms_of_the_file(network, written, form):
    reset(network)
    report = load(network, written(caffemodel(layers(), **form)))
    assert len(report.used) == len(network.weights)
    assert all(np.isfinite(variable).all() for variable in network.weights)


def test_copies_at_other_scales_and_classifiers_are_ignored(network, written):
    more = {
        "conv1_res075": layers()["conv1"],
        "bn_conv1_res05": layers()["bn_conv1"],
        "fc1_voc12_c0_res05": layers()["fc1_voc12_c0"],
        "fc1000": [np.zeros((10, 40), "float32"), np.zeros(10, "float32")],
    }
    report = load(network, written(caffemodel(layers() | more)))
    assert {name.partition("/")[0] for name in report.ignored} == set(more)
    assert report.unused == ()


def without_head():
    return {name: blobs for name, blobs in layers().items() if not name.startswith("fc1")}


def test_a_file_of_another_head_is_a_part(network, written):
    """As the file that DeepLabV2 begins with, which was trained on MS-COCO."""
    coco = np.zeros((91, 40, 3, 3), "float32")
    path = written(caffemodel(without_head() | {"fc1_coco": [coco, np.zeros(91, "float32")]}))
    with pytest.raises(ValueError, match=r"unless `partial` .* 8 missing.*: fc1_voc12_c0/weights"):
        load(network, path)
    before = [np.array(x) for x in network.get_layer("aspp_branch1").weights]
    report = load(network, path, partial=True)
    assert report.missing == tuple(
        f"fc1_voc12_c{i}/{kind}" for i in range(4) for kind in ("weights", "biases")
    )
    assert report.unused == ("fc1_coco/biases", "fc1_coco/weights")
    for variable, value in zip(network.get_layer("aspp_branch1").weights, before, strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize("head", ["fc1", "fc1_coco"])
def test_other_names_of_the_head(network, written, head):
    renamed = {name.replace("fc1_voc12", head): blobs for name, blobs in layers().items()}
    report = load(network, written(caffemodel(renamed)))
    assert f"{head}_c3/biases" in report.used
    np.testing.assert_array_equal(
        network.get_layer("aspp_branch4").bias, layers()["fc1_voc12_c3"][1]
    )


def test_other_networks_on_the_backbone(network, written):
    """A learnt upsampling begins as Caffe's fixed one; other heads are not in such a file."""
    backbone = network.get_layer("backbone")
    x = backbone(backbone.input)["8"]
    upsampled = keras.layers.Conv2DTranspose(2, 4, name="logits_deconvolution")(x)
    learnt = keras.Model(backbone.input, upsampled)
    kernel = np.array(learnt.get_layer("logits_deconvolution").kernel)
    report = load(learnt, written(caffemodel(layers())), partial=True)
    assert report.missing == ()
    assert len(report.used) == len(backbone.weights)
    np.testing.assert_array_equal(learnt.get_layer("logits_deconvolution").kernel, kernel)
    other = keras.Model(backbone.input, keras.layers.Conv2D(2, 1, name="logits")(x))
    report = load(other, written(caffemodel(layers())), partial=True)
    assert report.missing == ("logits/kernel", "logits/bias")


@pytest.fixture
def refused(assert_refused):
    return functools.partial(assert_refused, load)


@pytest.mark.parametrize(
    ("partial", "part"),
    [(False, "unused: fc1_voc12_c4"), (True, "unused of the head: fc1_voc12_c4")],
)
def test_a_pyramid_of_more_branches(network, written, refused, partial, part):
    more = layers() | {"fc1_voc12_c4": layers()["fc1_voc12_c3"]}
    refused(network, written(caffemodel(more)), "2 unused, 0 missing", part, partial=partial)


@pytest.mark.parametrize("partial", [False, True])
def test_a_missing_layer(network, written, refused, partial):
    others = {name: x for name, x in layers().items() if name != "bn4b3_branch2c"}
    missing = "missing of the backbone: bn4b3_branch2c/mean, bn4b3_branch2c/variance"
    refused(network, written(caffemodel(others)), "2 missing", missing, partial=partial)


@pytest.mark.parametrize(
    ("name", "surplus"),
    [
        ("conv1", "biases"),
        ("res4b3_branch2b", "biases"),
        ("res4b5_branch2a", "weights"),
        ("bn4b5_branch2a", "mean"),
        ("scale4b5_branch2a", "beta"),
    ],
)
def test_another_backbone(network, written, refused, name, surplus):
    """ResNet-152's units are those of ResNet-101 and more; ResNet-50's stem has biases."""
    blobs = layers().get(name) or layers()[name.replace("4b5", "4b4")]
    more = [*blobs, np.zeros(8, "float32")] if surplus == "biases" else blobs
    part = f"missing of the backbone: none; of another backbone: {name}/{surplus}"
    refused(network, written(caffemodel(layers() | {name: more})), part, partial=True)


def test_another_number_of_classes(network, written, refused):
    """All classifiers differ from the network's in one side, and in the same."""
    other = caffe_layers(THIN_WIDTHS, 21)
    head = {name: blobs for name, blobs in other.items() if name.startswith("fc1")}
    advice = ("import it with --num_classes 21, ", "init_from")
    refused(network, written(caffemodel(layers() | head)), *advice, partial=True)
    weights, biases = head["fc1_voc12_c3"]
    head["fc1_voc12_c3"] = [weights, np.zeros(91, "float32")]
    path = written(caffemodel(layers() | head))
    with pytest.raises(ValueError, match="fc1_voc12_c0/weights .* and 5 more$"):
        load(network, path)


def wrong(name, blob, value):
    blobs = [*layers()[name]]
    blobs[blob] = value
    return layers() | {name: blobs}


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (
            lambda: wrong("res3b1_branch2b", 0, np.zeros((6, 5, 3, 3), "float32")),
            ("res3b1_branch2b/weights", "(6, 6, 3, 3)", "(6, 5, 3, 3)"),
        ),
        (
            lambda: wrong("bn3b1_branch2b", 1, np.zeros((2, 3), "float32")),
            ("bn3b1_branch2b/variance", "(6,)", "(2, 3)"),
        ),
        (
            lambda: wrong("bn3b1_branch2b", 2, np.zeros(2, "float32")),
            ("one factor of the statistics of bn3b1_branch2b", "2"),
        ),
        *(
            (
                lambda factor=factor: wrong("bn3b1_branch2b", 2, np.float32([factor])),
                ("factor of the statistics of bn3b1_branch2b", f"Received: {factor}"),
            )
            for factor in (-1.0, np.inf, np.nan)
        ),
        (
            lambda: wrong("res3b1_branch2b", 0, np.full((6, 6, 3, 3), np.nan, "float32")),
            ("finite numbers", "res3b1_branch2b/weights with NaN"),
        ),
        (
            lambda: wrong("bn3b1_branch2b", 1, np.full(6, -1, "float32")),
            ("variances of at least 0", "bn3b1_branch2b/variance"),
        ),
        (
            lambda: wrong("fc1_voc12_c2", 1, np.zeros(91, "float32")),
            ("fc1_voc12_c2/biases", f"({CLASSES},)", "(91,)"),
        ),
        (
            lambda: layers() | {"bn_conv1": layers()["bn_conv1"][:2]},
            ("the layer bn_conv1", "2 blobs"),
        ),
        (
            lambda: layers() | {"scale_conv1": layers()["bn_conv1"]},
            ("the layer scale_conv1", "3 blobs"),
        ),
        (
            lambda: layers() | {"fc1_coco_c0": layers()["fc1_voc12_c0"]},
            ("one pyramid", "fc1_coco_c0, fc1_voc12_c0"),
        ),
    ],
)
@pytest.mark.parametrize("partial", [False, True])
def test_layers_that_differ(network, written, change, parts, partial, refused):
    refused(network, written(caffemodel(change())), *parts, partial=partial)


def test_another_network(network, written, refused):
    path = written(caffemodel({"conv1_1": [np.zeros((4, 3, 3, 3), "float32")]}))
    refused(network, path, "0 used, 1 unused", partial=True)
    refused(built("deeplab_v3_plus"), path, "resnet101_caffe")
    refused(keras.Sequential(name="own"), path, "resnet101_caffe", "'own'")


def test_no_such_file(network, tmp_path, refused):
    path = tmp_path / "text.caffemodel"
    path.write_text("layer { name: 'conv1' }")
    refused(network, path, "text.caffemodel")
