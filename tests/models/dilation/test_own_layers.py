"""Layers of a backbone of one's own that cannot be copied: one line with the remedy."""

import keras
import pytest

import models


class Scale(keras.layers.Layer):
    """Without the arguments that every layer takes."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def call(self, x):
        return self.factor * x


LAYERS = {
    "put a layer of your own in its place": lambda: keras.layers.Lambda(lambda x: 2 * x),
    "its class needs a get_config with all arguments": lambda: Scale(2.0),
}


@pytest.mark.parametrize("remedy", LAYERS)
def test_what_cannot_be_copied_is_named_with_the_remedy(remedy):
    x = images = keras.Input((None, None, 3))
    for place in range(5):
        x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(x)
        x = LAYERS[remedy]()(x) if place == 1 else x
    with pytest.raises(ValueError, match=f"must be copied: {remedy}.* Received: ") as error:
        models.build("deeplab_v3", backbone=keras.Model(images, x), num_classes=3, weights=None)
    assert "\n" not in str(error.value)
