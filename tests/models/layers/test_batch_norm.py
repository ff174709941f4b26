"""In networks these are tested by `test_architectures`."""

import keras
import numpy as np
import pytest

from models.layers.batch_norm import BatchNorm, FixedStatistics

OTHER = keras.layers.BatchNormalization(epsilon=0.02, momentum=0.5, center=False, name="other")


@pytest.mark.parametrize(
    ("freeze", "kind", "trainable"),
    [
        (False, keras.layers.BatchNormalization, True),
        (True, FixedStatistics, True),
        ("all", keras.layers.BatchNormalization, False),
    ],
)
def test_a_layer_like_another_trains_as_it_is_told(freeze, kind, trainable):
    layer = BatchNorm(momentum=0.7, epsilon=0.1, freeze=freeze).like(OTHER, "new")
    assert (type(layer), layer.trainable, layer.name) == (kind, trainable, "new")
    assert (layer.momentum, layer.synchronized) == (0.7, True)
    assert (layer.epsilon, layer.center) == (0.02, False)  # the other's own


@pytest.mark.parametrize("freeze", [False, True, "all"])
def test_statistics_move_only_where_they_are_not_frozen(freeze, images):
    layer = BatchNorm(momentum=0.5, freeze=freeze).like(keras.layers.BatchNormalization(), "new")
    x = images(2, 5, 5, 3)
    outputs = layer(x, training=True)
    moved = np.any(layer.moving_mean), np.any(layer.moving_variance != 1)
    assert moved == ((freeze is False),) * 2
    if freeze:
        np.testing.assert_array_equal(outputs, layer(x, training=False))


def test_statistics_of_ones_own_class_cannot_be_frozen():
    class Own(keras.layers.BatchNormalization):
        pass

    with pytest.raises(ValueError, match="of its own. Received: layer='mine' .Own."):
        BatchNorm(freeze=True).like(Own(name="mine"), "new")
    assert type(BatchNorm(freeze="all").like(Own(), "new")) is Own
