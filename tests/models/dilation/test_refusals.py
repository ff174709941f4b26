"""What has no exact dilated form is refused, and the layer named."""

import keras
import pytest

from models import dilate
from tests.models.dilation.test_dilate import network_of


@pytest.mark.parametrize("output_stride", [0, 4, 12, 64, "16", None])
def test_impossible_stride(output_stride):
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(1, 1)(inputs))
    with pytest.raises(ValueError, match=r"one of \(8, 16, 32\)\. Received: output_stride=") as e:
        dilate(model, output_stride)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [keras.layers.Conv2D(4, 8, strides=8)]
            + [keras.layers.Conv2D(4, 3, strides=2, padding="same", name="last")],
            "centered on cells. Received: layer='last'",
        ),
        ([keras.layers.Conv2D(4, 3, strides=16, name="last")], "must reach 8 before .*'last'"),
        ([keras.layers.Conv2D(4, (1, 7), name="last")], "must be square. .*'last'"),
        ([keras.layers.UpSampling2D(2, name="last")], "may change the size .*'last'"),
        ([keras.layers.Flatten(name="last")], "may change the size .*'last'"),
        ([lambda x: keras.ops.max_pool(x, 2, 2)], "may change the size .*'max_pool"),
        ([lambda x: x[:, ::2, ::2]], "may change the size .*'get_item"),
        ([lambda x: x * keras.ops.mean(x, (1, 2), keepdims=True)], "may change the size .*'mean"),
        ([keras.layers.Conv2DTranspose(3, 3, padding="same", name="last")], "more than one cell"),
        (
            [keras.layers.GroupNormalization(1, name="last")],
            "more than one cell. Received: .*'last'",
        ),
        (
            [keras.layers.Conv2D(4, 3, strides=2, padding="same") for _ in range(4)]
            + [keras.layers.MaxPooling2D(2)],
            "are centered on cells",
        ),
        (
            [keras.layers.Conv2D(4, 3, strides=2, padding="same") for _ in range(3)]
            + [keras.layers.ZeroPadding2D(1)]
            + [keras.layers.Conv2D(4, 3, strides=2, padding="same", name="last")],
            "own padding is \"valid\".*'last'",
        ),
        ([keras.layers.Conv2D(4, 3, strides=4)], "at most that of the backbone, 4"),
    ],
    ids=["asymmetric", "leap", "oblong", "enlarging", "flat", "pool", "slice", "gate"]
    + ["transposed", "groups", "even at the end", "padded twice", "shallow"],
)
def test_what_cannot_be_dilated_is_named(layers, message):
    with pytest.raises(ValueError, match=message) as error:
        dilate(network_of(*layers), 8)
    assert "\n" not in str(error.value)


def test_several_outputs_are_refused():
    inputs = keras.Input((None, None, 3))
    with pytest.raises(ValueError, match="1 inputs, 2 outputs"):
        dilate(keras.Model(inputs, [inputs, inputs]), 8)


def test_a_classifier_is_refused():
    pool, dense = keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1000)
    network = network_of(keras.layers.Conv2D(4, 8, strides=8), pool, dense)
    with pytest.raises(ValueError, match=r"include_top=False\). Received: .*\(None, 1000\)"):
        dilate(network, 8)


def test_models_without_a_graph_are_refused():
    class Subclassed(keras.Model):
        pass

    for model in (Subclassed(), keras.Sequential([keras.layers.Conv2D(3, 3)])):
        with pytest.raises(ValueError, match="functional or sequential, .* 0 inputs") as error:
            dilate(model, 8)
        assert "\n" not in str(error.value)
