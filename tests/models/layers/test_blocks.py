"""In networks these are tested by `test_deeplab_backbones` and `test_slim_checkpoint`."""

import keras
import numpy as np
import pytest

from models.layers.batch_norm import BatchNorm
from models.layers.blocks import conv_block, conv_same, separable_conv_block


@pytest.mark.parametrize("block", [conv_block, separable_conv_block])
def test_a_block_is_dilated_normalized_and_named(block):
    inputs = keras.Input((None, None, 3))
    x = block(inputs, 5, 3, norm=BatchNorm(momentum=0.7, epsilon=0.1), name="x", rate=4)
    layers = keras.Model(inputs, x).layers[1:]
    assert x.shape == (None, None, None, 5)
    assert all(layer.name.startswith("x_") for layer in layers)
    assert layers[0].dilation_rate == (4, 4)
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == (1 if block is conv_block else 2)
    assert {(norm.momentum, norm.epsilon) for norm in norms} == {(0.7, 0.1)}
    assert isinstance(layers[-1], keras.layers.ReLU)


@pytest.mark.parametrize("side", [6, 7])
def test_a_strided_kernel_starts_on_the_first_pixel(side):
    inputs = keras.Input((None, None, 1))
    batch_norm = {"epsilon": 1e-3, "momentum": 0.9}
    x = conv_same(inputs, 1, 3, stride=2, name="x", batch_norm=batch_norm, relu=False)
    model = keras.Model(inputs, x)
    center = np.zeros((3, 3, 1, 1))
    center[1, 1] = np.sqrt(1 + 1e-3)  # what batch normalization takes away
    model.get_layer("x").set_weights([center])
    image = np.random.default_rng(0).uniform(size=(1, side, side, 1)).astype("float32")
    np.testing.assert_allclose(model(image), image[:, ::2, ::2], rtol=1e-6)
