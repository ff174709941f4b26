"""Counts against those that are published, and by hand."""

import keras
import pytest

from models.summary import stages
from tests.models.networks import build, built


@pytest.mark.parametrize(
    ("name", "side", "billions"),
    [
        # Sandler et al., 2018, table 4: 0.300
        ("MobileNetV2", 224, 0.300),
        # He et al., 2016, table 1: 3.8
        pytest.param("ResNet50", 224, 3.86, marks=pytest.mark.full),
        # Chollet's network in Keras' own count of 16.8 GFLOPs
        pytest.param("Xception", 299, 8.4, marks=pytest.mark.full),
        # Liu et al., 2022, table 1: 4.5
        pytest.param("ConvNeXtTiny", 224, 4.46, marks=pytest.mark.full),
        # Tan and Le, 2019, table 2: 0.39
        pytest.param("EfficientNetB0", 224, 0.386, marks=pytest.mark.full),
    ],
)
def test_published_counts(name, side, billions):
    model = getattr(keras.applications, name)(weights=None)
    found = stages(model, (side, side))
    assert sum(stage.parameters for stage in found) == model.count_params()
    assert sum(stage.multiply_adds for stage in found) == pytest.approx(billions * 1e9, rel=0.01)


def test_counts_by_hand():
    layers = keras.layers
    x = inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", dilation_rate=1, name="stem")(x)
    inner = keras.Input((None, None, 8))
    nested = keras.Model(inner, layers.DepthwiseConv2D(3, dilation_rate=2, padding="same")(inner))
    nested.name = "body"
    x = nested(x)
    x = layers.SeparableConv2D(8, 3, padding="same", use_bias=False, name="tail")(x)
    x = layers.Conv2D(8, 1, groups=2, use_bias=False, name="head_a")(x)
    x = layers.Conv2DTranspose(4, 2, strides=2, name="head_b")(x)
    model = keras.Model(inputs, x)
    found = [
        (s.part, s.stride, s.rates, s.parameters, s.multiply_adds) for s in stages(model, (64, 96))
    ]
    cells = 32 * 48
    assert found == [
        ("stem", 2, (1,), 8 * 27 + 8, cells * 8 * 27),
        ("body", 2, (2,), 8 * 9 + 8, cells * 8 * 9),
        ("tail", 2, (1,), 8 * 9 + 8 * 8, cells * (8 * 9 + 8 * 8)),
        ("head", 1, (1,), 8 * 4 * 4 + 4, cells * 8 * 4 * 4),
        ("head", 2, (), 8 * 4, cells * 8 * 4),
    ]


@pytest.mark.parametrize(("output_stride", "rates"), [(8, (1, 2, 4)), (16, (1, 2)), (32, (1,))])
def test_rates_follow_the_output_stride(output_stride, rates):
    model = built("deeplab_v3", output_stride=output_stride)
    by_stage = {(s.part, s.stride): s.rates for s in stages(model, (129, 129))}
    # The last kernel of the small network sees the features of stride 32.
    assert by_stage["backbone", output_stride] == rates
    assert by_stage["aspp", None] == ()  # image pooling


@pytest.mark.full
def test_rates_of_a_resnet():
    model = build("deeplab_v3", backbone="resnet50", output_stride=8)
    by_stage = {(s.part, s.stride): s.rates for s in stages(model, (129, 129))}
    assert by_stage["backbone", 8] == (1, 2, 4)
