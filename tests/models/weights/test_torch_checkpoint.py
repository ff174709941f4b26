"""ImageNet's .pth files of ResNet-101: what PyTorch computes, and files that differ."""

import functools

import numpy as np
import pytest

import models
from models.backbones.torch_file import read_pth
from models.weights.torch_checkpoint import import_pth
from tests.models.backbones.torch_files import archive, pth
from tests.models.networks import THIN_WIDTHS, built, in_float64
from tests.models.weights.resnet_reference import Torch, state_dict
from tests.models.weights.slim_networks import pixels
from tests.models.weights.slim_reference import distance

# Of the spread, in float64.
TOLERANCE = 1e-9
DEEP = {"resnet101_pytorch": False, "resnet101_encoding": True}


def load(model, path, **options):
    return import_pth(model, read_pth(path), **options)


@pytest.fixture(scope="module", params=DEEP)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def network(thin_resnet_101, name):
    with in_float64():
        return models.build(
            "deeplab_v2", backbone=name, num_classes=5, atrous_rates=(6,), output_stride=8
        )


@functools.cache
def values(deep):
    """Return the arrays of a trained network; nobody may change them."""
    drawn = state_dict(THIN_WIDTHS, deep=deep)
    Torch(drawn, fit=True).features(pixels(2, 33, 41, 3))
    return drawn


def backbone_features(network, images):
    normalized = network.get_layer("normalization")(images)
    return network.get_layer("backbone")(normalized)["8"]


@pytest.mark.parametrize("write", [pth, archive])
def test_features_are_those_of_pytorch(network, name, written, write):
    arrays = values(DEEP[name])
    for variable in network.weights:
        variable.assign(np.full(variable.shape, np.nan))
    report = load(network, written(write(arrays)), partial=True)
    assert len(report.used) == len(network.get_layer("backbone").weights)
    assert report.unused == ()
    assert report.missing == ("aspp_branch1/kernel", "aspp_branch1/bias")
    others = {key for key in arrays if key.endswith("num_batches_tracked")}
    assert set(report.ignored) == {"fc.weight", "fc.bias", *others}
    images = pixels(1, 41, 33, 3).astype("float64")
    expected = Torch(arrays).features(images)
    assert np.std(expected, axis=(1, 2)).min() > 0.01  # no constant maps
    assert distance(backbone_features(network, images), expected) < TOLERANCE


@pytest.fixture
def refused(assert_refused):
    return functools.partial(assert_refused, load)


def test_the_head_is_never_there(network, name, written, refused):
    path = written(pth(values(DEEP[name])))
    refused(network, path, "2 missing", "missing: aspp_branch1/kernel", "`partial`")


def test_arrays_that_differ(network, name, written, refused):
    arrays = values(DEEP[name])
    kernel = np.zeros((8, 8, 1, 1), "float32")
    path = written(pth(arrays | {"layer3.4.conv2.weight": kernel}))
    parts = ("layer3.4.conv2.weight", "(8, 8, 3, 3)", "(8, 8, 1, 1)")
    refused(network, path, *parts, partial=True)
    others = {key: value for key, value in arrays.items() if key != "layer3.4.bn2.running_var"}
    part = "missing of the backbone: layer3.4.bn2.running_var; of another backbone: none"
    refused(network, written(pth(others)), part, partial=True)


def test_names_of_a_wrapped_network_are_shown(network, name, written, refused):
    """As `torch.nn.DataParallel` writes them."""
    wrapped = {f"module.{key}": x for key, x in values(DEEP[name]).items() if "num_" not in key}
    first = "module.bn1.bias, module.bn1.running_mean, "
    refused(network, written(pth(wrapped)), f"unused: {first}", partial=True)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("bn2.running_var", np.float32(-1)),
        ("bn2.bias", np.int64(1)),
        ("bn2.bias", np.float32("inf")),
    ],
)
def test_values_that_no_network_has(network, name, written, refused, key, value):
    key, arrays = f"layer3.4.{key}", values(DEEP[name])
    changed = arrays | {key: np.full_like(arrays[key], value, dtype=value.dtype)}
    refused(network, written(pth(changed)), key, partial=True)


def test_other_depths(network, name, written, refused):
    """All units of ResNet-50 are those of ResNet-101, which are those of ResNet-152."""
    arrays = values(DEEP[name])
    fewer = {key: x for key, x in arrays.items() if not key.startswith("layer3.4.")}
    missing = "missing of the backbone: layer3.4.conv1.weight"
    refused(network, written(pth(fewer)), missing, partial=True)
    unit = {key: x for key, x in arrays.items() if key.startswith("layer3.4.")}
    more = {key.replace("layer3.4.", "layer3.5."): x for key, x in unit.items()}
    others = "missing of the backbone: none; of another backbone: layer3.5.bn1.bias"
    refused(network, written(pth(arrays | more)), others, partial=True)


@pytest.mark.parametrize("surplus", ["layer3.4.conv2.bias", "conv1.bias", "bn1.scale"])
def test_what_the_backbone_has_no_place_for(network, name, written, refused, surplus):
    arrays = values(DEEP[name]) | {surplus: np.zeros(8, "float32")}
    refused(network, written(pth(arrays)), f"of another backbone: {surplus}", partial=True)


def test_what_else_a_file_holds_is_unused(network, name, written):
    arrays = values(DEEP[name]) | {"aux.conv1.weight": np.zeros(8, "float32")}
    report = load(network, written(pth(arrays)), partial=True)
    assert report.unused == ("aux.conv1.weight",)


def test_a_file_of_the_other_flavor(network, name, written, refused):
    """Its units fit but for the first; its stem does not."""
    ours, theirs = ("conv1.0.weight", "conv1.weight")[:: 1 if DEEP[name] else -1]
    # Units whose shapes fit, as the whole networks' first ones do not.
    units = {key: x for key, x in values(not DEEP[name]).items() if not key.startswith("layer1.0")}
    units = {key: x for key, x in units.items() if key != "bn1" and not key.startswith("bn1.")}
    refused(network, written(pth(units)), theirs, f"missing of the backbone: {ours}")
    refused(network, written(pth(values(not DEEP[name]))), "bn1.weight", partial=True)


def test_another_network(network, written, tmp_path, refused):
    path = written(pth({"features.0.weight": np.zeros((4, 3, 3, 3), "float32")}))
    refused(network, path, "0 used, 1 unused", partial=True)
    refused(built("deeplab_v3_plus"), path, "resnet101_pytorch or resnet101_encoding")
    text = tmp_path / "text.pth"
    text.write_text("no pickle")
    refused(network, text, "text.pth")
