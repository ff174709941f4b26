"""Output stride: trade the strides of a classification network for dilation, weights unchanged."""

import dataclasses

import keras

from models.checks import check_choice
from models.dilation.converter import DilationConverter
from models.dilation.geometry import MapGeometry
from models.dilation.graph import check_graph
from models.layers.batch_norm import BatchNorm

OUTPUT_STRIDES = (8, 16, 32)


@dataclasses.dataclass(frozen=True)
class Grid:
    """Where the features lie in the image, and which sides of images fit.

    Attributes:
        corners: True: feature i is centered on pixel margin + i · stride, and sides of
            k · stride + 1 + 2 · margin fit. False: sides of k · stride fit, and the features
            divide the image into equal cells.
        margin: Pixels that unpadded kernels cut off at each border, ≥ 0.
    """

    corners: bool
    margin: int = 0


@dataclasses.dataclass(frozen=True)
class Dilated:
    """A network at an output stride.

    Attributes:
        network: The copy, with the outputs of the original.
        levels: By stride, the last features before the next stride is taken.
        grid: Of the features.
    """

    network: keras.Model
    levels: dict[int, keras.KerasTensor]
    grid: Grid


def dilate(backbone: keras.Model, output_stride: int, *, maps: bool = False) -> keras.Model:
    """Return a copy of `backbone`, same weights, whose features have stride `output_stride`.

    Once the product of the strides reaches `output_stride`, every further stride s becomes 1 and
    every kernel behind it, of a convolution or a pooling, is dilated by the strides taken away
    before it. Every `output_stride/32` th feature of the copy is then a feature of the original:

        dilate(b, s)(x)[:, :: 32 // s, :: 32 // s] == b(x)

    for images of sides that fit: multiples of 32 where the strided kernels are unpadded or padded
    by `ZeroPadding2D`. A strided "same" kernel is padded by where its last window ends, so where a
    network has one of more than one tap behind the output stride (Xception, EfficientNetV2,
    EfficientNet-Lite), its maps must have odd sides at every stride: k·32 + 1 pixels, k·32 + 7 for
    Xception, whose first two kernels are unpadded. A global pooling inside the network
    (squeeze-excitation) sees the features that the original has.

    Args:
        backbone: A functional or sequential model of an image, with one output; made of 2-D
            convolutions with square kernels, poolings, global poolings, `ZeroPadding2D`, and layers
            and operations that look at one cell.
        output_stride: 8, 16 or 32, at most the stride of `backbone`.
        maps: Whether the copy gives its features at every stride, for decoders, instead of the
            last ones alone: a dict with the strides as keys, "2", "4", …, each with the last
            features before the next stride is taken.

    Returns:
        A new functional model with as many weights as `backbone`. Nested models are part of it.

    Raises:
        ValueError: if `output_stride` is not possible, or if a layer has no exact dilated
            counterpart, which is then named.

    Example:
        >>> resnet = keras.applications.ResNet50(
        ...     include_top=False, weights=None, input_shape=(None, None, 3))
        >>> models.dilate(resnet, 8).compute_output_shape((1, 64, 64, 3))
        (1, 8, 8, 2048)
        >>> features = models.dilate(resnet, 8, maps=True)(tf.zeros([1, 64, 64, 3]))
        >>> {stride: tuple(x.shape) for stride, x in features.items()}
        {'2': (1, 32, 32, 64), '4': (1, 16, 16, 256), '8': (1, 8, 8, 2048)}

    Reference:
        Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017,
        section 3.1. Multi-grid rates are no part of it: see `with_multi_grid`.
    """
    dilated = dilated_copy(backbone, output_stride)
    if not maps:
        return dilated.network
    return keras.Model(
        dilated.network.input, {str(stride): x for stride, x in dilated.levels.items()}
    )


def dilated_copy(
    backbone: keras.Model, output_stride: int, batch_norm: BatchNorm | None = None
) -> Dilated:
    """Copy a network as `dilate` does, and return what else is learnt on the way.

    Args:
        backbone: See `dilate`.
        output_stride: 8, 16 or 32.
        batch_norm: How batch normalization trains; its epsilon stays that of the network. None:
            as in the original.

    Returns:
        The copy, its levels, and its grid.

    Raises:
        ValueError: see `dilate`.
    """
    check_choice("output_stride", output_stride, OUTPUT_STRIDES)
    check_graph(backbone)
    # Sequential models, and models of lists of one tensor, become functional ones of one tensor.
    backbone = keras.Model(backbone.inputs[0], backbone.outputs[0], name=backbone.name)
    converter = DilationConverter(output_stride, batch_norm)
    # The copy takes images of any size, even if the original was made for one.
    images = keras.Input((None, None, backbone.input_shape[-1]), name="images")
    network = keras.models.clone_model(
        backbone, images, clone_function=converter.copy, call_function=converter.call
    )
    geometry = converter.geometry_of(network.output)
    if geometry.stride == 0 or len(network.output.shape) != 4:
        raise ValueError(
            "`backbone` must end in a map `(batch, height, width, channels)`, without a classifier "
            f"(include_top=False). Received: a model with output shape {backbone.output_shape}"
        )
    if geometry.stride < output_stride:
        raise ValueError(
            f"`output_stride` must be at most that of the backbone, {geometry.stride}. "
            f"Received: output_stride={output_stride}"
        )
    converter.check_end(geometry)
    for original, copied in converter.pairs.values():
        copied.set_weights(original.get_weights())
        if isinstance(copied, keras.layers.Normalization):
            copied.finalize_state()  # recomputes what Keras derived from the old weights
    levels = {**converter.levels, output_stride: network.output}
    return Dilated(network, dict(sorted(levels.items())), _grid(geometry))


def _grid(geometry: MapGeometry) -> Grid:
    if not geometry.symmetric or geometry.offset < 0 or geometry.offset % 1:
        return Grid(corners=False)
    return Grid(corners=True, margin=int(geometry.offset))
