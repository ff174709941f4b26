"""Counts against those that are published, and by hand."""

import keras
import pytest

import models
from models.__main__ import main
from models.summary import stages


def totals(model, size):
    found = stages(model, size)
    return sum(s.parameters for s in found), sum(s.multiply_adds for s in found)


@pytest.mark.parametrize(
    ("name", "side", "billions"),
    [
        ("ResNet50", 224, 3.86),  # He et al., 2016, table 1: 3.8
        ("MobileNetV2", 224, 0.300),  # Sandler et al., 2018, table 4: 0.300
        ("Xception", 299, 8.4),  # Chollet's network in Keras' own count of 16.8 GFLOPs
        ("ConvNeXtTiny", 224, 4.46),  # Liu et al., 2022, table 1: 4.5
        ("EfficientNetB0", 224, 0.386),  # Tan and Le, 2019, table 2: 0.39
    ],
)
def test_published_counts(name, side, billions):
    model = getattr(keras.applications, name)(weights=None)
    parameters, multiply_adds = totals(model, (side, side))
    assert parameters == model.count_params()
    assert multiply_adds == pytest.approx(billions * 1e9, rel=0.01)


def test_counts_by_hand():
    layers = keras.layers
    x = inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", dilation_rate=1, name="stem")(x)
    inner = keras.Input((None, None, 8))
    nested = keras.Model(inner, layers.DepthwiseConv2D(3, dilation_rate=2, padding="same")(inner))
    nested.name = "body"
    x = nested(x)
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
        ("head", 1, (1,), 8 * 4 * 4 + 4, cells * 8 * 4 * 4),
        ("head", 2, (), 8 * 4, cells * 8 * 4),
    ]


def test_rates_follow_the_output_stride():
    for output_stride, rates in ((8, (1, 2, 4)), (16, (1, 2)), (32, (1,))):
        model = models.build(
            "deeplab_v3", backbone="resnet50", num_classes=2, output_stride=output_stride
        )
        by_stage = {(s.part, s.stride): s.rates for s in stages(model, (129, 129))}
        assert by_stage["backbone", output_stride] == rates
        assert by_stage["aspp", None] == ()  # image pooling


def test_command(capsys):
    main(["summary", "deeplab_v3_plus", "--backbone", "mobilenet_v2", "--num-classes", "3"])
    text = capsys.readouterr().out
    assert "deeplab_v3_plus on mobilenet_v2, an image of 513 × 513" in text
    model = models.build("deeplab_v3_plus", backbone="mobilenet_v2", num_classes=3)
    assert f"{model.count_params() / 1e6:.2f} M" in text.splitlines()[-2]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["unet", "--backbone", "resnet50"], "choose from 'deeplab_v2'"),
        (["deeplab_v3", "--backbone", "vgg"], "'xception_65'"),
        (["deeplab_v3"], "--backbone"),
        (["deeplab_v3", "--backbone", "resnet50", "--output-stride", "4"], "choose from 8, 16, 32"),
        (["deeplab_v3", "--backbone", "resnet50", "--size", "63", "500"], "--size"),
        (["deeplab_v3", "--backbone", "resnet50", "--num-classes", "0"], "num_classes=0"),
    ],
)
def test_a_wrong_argument_is_named(arguments, part, capsys):
    with pytest.raises(SystemExit) as exit:
        main(["summary", *arguments])
    assert exit.value.code == 2
    text = capsys.readouterr().err
    assert part in text
    assert text.count("\n") == 1
