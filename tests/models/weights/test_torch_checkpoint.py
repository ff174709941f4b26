"""ImageNet's .pth files of ResNet-101: what PyTorch computes, and files that differ."""

import functools

import numpy as np
import pytest

import models
from models.weights.torch_checkpoint import import_pth
from tests.models.backbones.torch_files import archive, pth
from tests.models.networks import THIN_WIDTHS, built, in_float64
from tests.models.weights.resnet_reference import Torch, state_dict
from tests.models.weights.slim_networks import pixels
from tests.models.weights.slim_reference import distance

# Of the spread, in float64.
TOLERANCE = 1e-9
DEEP = {"resnet101_pytorch": False, "resnet101_encoding": True}


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


@pytest.fixture
def saved(tmp_path):
    def save(arrays, write=pth):
        path = tmp_path / "resnet101.pth"
        path.write_bytes(write(arrays))
        return path

    return save


def backbone_features(network, images):
    normalized = network.get_layer("normalization")(images)
    return network.get_layer("backbone")(normalized)["8"]


@pytest.mark.parametrize("write", [pth, archive])
def test_features_are_those_of_pytorch(network, name, saved, write):
    arrays = values(DEEP[name])
    for variable in network.weights:
        variable.assign(np.full(variable.shape, np.nan))
    report = import_pth(network, saved(arrays, write), partial=True)
    assert len(report.used) == len(network.get_layer("backbone").weights)
    assert report.unused == ()
    assert report.missing == ("aspp_branch1/kernel", "aspp_branch1/bias")
    others = {key for key in arrays if key.endswith("num_batches_tracked")}
    assert set(report.ignored) == {"fc.weight", "fc.bias", *others}
    images = pixels(1, 41, 33, 3).astype("float64")
    expected = Torch(arrays).features(images)
    assert np.std(expected, axis=(1, 2)).min() > 0.01  # no constant maps
    assert distance(backbone_features(network, images), expected) < TOLERANCE


def assert_refused(model, path, *parts, **options):
    """One line that names all parts, and no weight has changed."""
    before = [np.array(variable) for variable in model.weights]
    with pytest.raises(ValueError, match=r"^`\w+` must .*Received: ") as error:
        import_pth(model, path, **options)
    assert "\n" not in str(error.value)
    for part in parts:
        assert part in str(error.value)
    for variable, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_the_head_is_never_there(network, name, saved):
    path = saved(values(DEEP[name]))
    assert_refused(network, path, "2 missing", "missing: aspp_branch1/kernel", "`partial`")


def test_arrays_that_differ(network, name, saved):
    arrays = values(DEEP[name])
    kernel = np.zeros((8, 8, 1, 1), "float32")
    path = saved(arrays | {"layer3.4.conv2.weight": kernel})
    parts = ("layer3.4.conv2.weight", "(8, 8, 3, 3)", "(8, 8, 1, 1)")
    assert_refused(network, path, *parts, partial=True)
    others = {key: value for key, value in arrays.items() if key != "layer3.4.bn2.running_var"}
    report = import_pth(network, saved(others), partial=True)
    assert report.missing[0] == "layer3.4.bn2.running_var"


def test_a_file_of_the_other_flavor(network, name, saved):
    """Its units fit but for the first; its stem does not."""
    ours, theirs = ("conv1.0.weight", "conv1.weight")[:: 1 if DEEP[name] else -1]
    # Units whose shapes fit, as the whole networks' first ones do not.
    units = {key: x for key, x in values(not DEEP[name]).items() if not key.startswith("layer1.0")}
    units = {key: x for key, x in units.items() if key != "bn1" and not key.startswith("bn1.")}
    assert_refused(network, saved(units), theirs, f"missing: {ours}")
    assert_refused(network, saved(values(not DEEP[name])), "bn1.weight", partial=True)


def test_another_network(network, saved, tmp_path):
    path = saved({"features.0.weight": np.zeros((4, 3, 3, 3), "float32")})
    assert_refused(network, path, "0 used, 1 unused", partial=True)
    assert_refused(built("deeplab_v3_plus"), path, "resnet101_pytorch or resnet101_encoding")
    text = tmp_path / "text.pth"
    text.write_text("no pickle")
    assert_refused(network, text, "text.pth")
