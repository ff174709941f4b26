"""The one list of backbones, and what has to be known about each."""

import dataclasses
import functools
import warnings
from collections.abc import Callable
from typing import Any

import keras

from models.backbones.efficientnet_lite import efficientnet_lite
from models.backbones.resnet_101 import FLAVORS as RESNET_101_FLAVORS
from models.backbones.resnet_101 import last_block, levels, resnet101
from models.backbones.resnet_beta import LAST_BLOCK as RESNET_BETA_LAST_BLOCK
from models.backbones.resnet_beta import LEVELS as RESNET_BETA_LEVELS
from models.backbones.resnet_beta import resnet101_beta
from models.backbones.xception_65 import LEVELS as XCEPTION_65_LEVELS
from models.backbones.xception_65 import xception_65

# Width of ASPP and decoder in the papers.
PAPER_CHANNELS = 256


@dataclasses.dataclass(frozen=True)
class Backbone:
    """What has to be known about a classification network.

    Attributes:
        make: Builds the network without its top; takes the `weights` of `build_backbone`.
        normalization: Arguments of `layers.PixelNormalization`, those the weights were trained
            with. Empty: pixels of 0–255 as they are.
        levels: Names of the layers whose outputs are the features of strides 2, 4, 8, 16 and 32.
            None: at each stride the last features before the next stride is taken.
        channels: Width of ASPP and decoder that suits it.
        separable: Whether their 3x3 convolutions are depthwise separable.
        last_block: Names of the 3x3 convolutions of the last block, which multi-grid rates dilate.
    """

    make: Callable[[str | None], keras.Model]
    normalization: dict[str, Any] = dataclasses.field(default_factory=dict)
    levels: tuple[str, str, str, str, str] | None = None
    channels: int = PAPER_CHANNELS
    separable: bool = False
    last_block: tuple[str, ...] = ()


# x / 127.5 - 1, `keras.applications.imagenet_utils.preprocess_input(mode="tf")`.
_SIGNED_UNIT = {"scale": 1 / 127.5, "offset": (-1.0, -1.0, -1.0)}
# ImageNet's means of blue, green and red, `preprocess_input(mode="caffe")`.
_CENTERED_BGR = {"offset": (-103.939, -116.779, -123.68), "bgr": True}
# Caffe's means of ILSVRC-2012, which DeepLabV2 subtracts.
_DEEPLAB_BGR = {"offset": (-104.008, -116.669, -122.675), "bgr": True}
# ImageNet's means and deviations of x / 255, `preprocess_input(mode="torch")`.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_STANDARDIZED = {
    "scale": tuple(1 / (255 * deviation) for deviation in _DEVIATION),
    "offset": tuple(-mean / deviation for mean, deviation in zip(_MEAN, _DEVIATION, strict=True)),
}
# (x − 127) / 128, as EfficientNet-Lite's own code.
_LITE = {"scale": 1 / 128, "offset": (-127 / 128,) * 3}
# The last level leaves out the 1280 channels that only a classifier needs, as with MobileNetV2.
_LITE_LEVELS = (
    "block1a_project_bn",
    "block3a_expand_relu",
    "block4a_expand_relu",
    "block6a_expand_relu",
    "block7a_project_bn",
)
# With a small backbone a head of the papers' width would be most of the network's cost.
_LIGHT = {"channels": PAPER_CHANNELS // 4, "separable": True}


def _application(name: str, weights: str | None) -> keras.Model:
    with warnings.catch_warnings():
        # MobileNets warn that they take the weights of 224 x 224 images. These fit any size.
        warnings.filterwarnings("ignore", message=".*Weights for input shape", category=UserWarning)
        return getattr(keras.applications, name)(
            include_top=False, weights=weights, input_shape=(None, None, 3)
        )


def _applications(names: dict[str, str], **description: Any) -> dict[str, Backbone]:
    return {
        name: Backbone(functools.partial(_application, application), **description)
        for name, application in names.items()
    }


def _without_imagenet(make: Callable[[], keras.Model], weights: str | None) -> keras.Model:
    if weights is not None:
        raise ValueError(
            "`weights` must be None or a path: of this backbone nobody offers ImageNet weights to "
            "Keras; `python -m models import-checkpoint` reads the published files. "
            f"Received: weights={weights!r}"
        )
    return make()


BACKBONES: dict[str, Backbone] = {
    "mobilenet_v2": Backbone(
        functools.partial(_application, "MobileNetV2"),
        _SIGNED_UNIT,
        # Stride 4 and the last level are DeepLab's own choice: the expanded features of the second
        # block, and what comes before the 1280 channels that only a classifier needs.
        (
            "expanded_conv_project_BN",
            "block_2_depthwise_relu",
            "block_5_add",
            "block_12_add",
            "block_16_project_BN",
        ),
        **_LIGHT,
    ),
    **_applications(
        {"mobilenet_v3_small": "MobileNetV3Small", "mobilenet_v3_large": "MobileNetV3Large"},
        **_LIGHT,
    ),
    **{
        f"efficientnet_lite{i}": Backbone(
            lambda weights, i=i: efficientnet_lite(i, weights=weights),
            _LITE,
            _LITE_LEVELS,
            **_LIGHT,
        )
        for i in range(3)
    },
    **_applications(
        {f"resnet{n}": f"ResNet{n}" for n in (50, 101, 152)},
        normalization=_CENTERED_BGR,
        last_block=tuple(f"conv5_block{i}_2_conv" for i in (1, 2, 3)),
    ),
    **_applications(
        {f"resnet{n}_v2": f"ResNet{n}V2" for n in (50, 101, 152)}, normalization=_SIGNED_UNIT
    ),
    "resnet101_beta": Backbone(
        functools.partial(_without_imagenet, resnet101_beta),
        _SIGNED_UNIT,
        RESNET_BETA_LEVELS,
        last_block=RESNET_BETA_LAST_BLOCK,
    ),
    **{
        name: Backbone(
            functools.partial(_without_imagenet, functools.partial(resnet101, name)),
            _DEEPLAB_BGR if name == "resnet101_caffe" else _STANDARDIZED,
            levels(name),
            last_block=last_block(name),
        )
        for name in RESNET_101_FLAVORS
    },
    **_applications({"xception": "Xception"}, normalization=_SIGNED_UNIT, separable=True),
    "xception_65": Backbone(
        functools.partial(_without_imagenet, xception_65),
        _SIGNED_UNIT,
        XCEPTION_65_LEVELS,
        separable=True,
    ),
    **_applications({f"efficientnet_b{i}": f"EfficientNetB{i}" for i in range(8)}),
    **_applications(
        {
            f"efficientnet_v2_{size.lower()}": f"EfficientNetV2{size}"
            for size in ("B0", "B1", "B2", "B3", "S", "M", "L")
        }
    ),
    **_applications(
        {
            f"convnext_{size.lower()}": f"ConvNeXt{size}"
            for size in ("Tiny", "Small", "Base", "Large", "XLarge")
        }
    ),
    **_applications(
        {f"densenet{n}": f"DenseNet{n}" for n in (121, 169, 201)}, normalization=_STANDARDIZED
    ),
}


def describe(backbone: str | keras.Model) -> Backbone:
    """Look up a backbone's description; a model gets the default one.

    Args:
        backbone: A key of `BACKBONES`, or a functional model that takes pixels of 0–255.

    Returns:
        Its description.

    Raises:
        ValueError: it is neither; all names are listed.
    """
    if isinstance(backbone, keras.Model):
        return Backbone(functools.partial(_own, backbone))
    if not isinstance(backbone, str) or backbone not in BACKBONES:
        raise ValueError(
            f"`backbone` must be a functional Keras model or one of {tuple(BACKBONES)}. "
            f"Received: backbone={backbone!r}"
        )
    return BACKBONES[backbone]


def _own(backbone: keras.Model, weights: str | None) -> keras.Model:
    if weights is not None:
        raise ValueError(
            "`weights` must be None or a path: a backbone that is a model has its own. "
            f"Received: weights={weights!r}"
        )
    return backbone
