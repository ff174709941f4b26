"""Atrous consistency: the same weights at every output stride give the same features."""

import numpy as np

from models import dilate
from models.dilation.dilate import dilated_copy

# Of the largest feature. Float32 sums in another order.
TOLERANCE = 1e-5


def fitting_sides(grid, *sides):
    """Return sides near multiples of 32 at which strided kernels start at their usual cells."""
    added = 1 + 2 * grid.margin if grid.corners else 0
    return [side + added for side in sides]


def distance(dense, sparse, step):
    """Return the largest difference, in units of the largest feature."""
    dense, sparse = np.asarray(dense)[:, ::step, ::step], np.asarray(sparse)
    assert dense.shape == sparse.shape
    assert np.std(sparse, axis=(0, 1, 2)).mean() > 1e-3 * np.abs(sparse).max()  # varies in space
    return np.abs(dense - sparse).max() / np.abs(sparse).max()


def check_consistency(network, pixels):
    """At output strides 8 and 16, `pixels(*sides)` being images that suit the network."""
    grid = dilated_copy(network, 32).grid
    for sides in ([64, 96], [96, 32]):
        images = pixels(*fitting_sides(grid, *sides))
        sparse = network(images)
        for output_stride in (8, 16):
            dense = dilate(network, output_stride)(images)
            expected = tuple(side // output_stride + int(grid.corners) for side in sides)
            assert dense.shape[1:3] == expected
            assert distance(dense, sparse, 32 // output_stride) < TOLERANCE


def check_maps(network, pixels, strides):
    """At output stride 32 the copy is the original; maps of all strides have their sizes."""
    grid = dilated_copy(network, 32).grid
    images = pixels(*fitting_sides(grid, 64, 96))
    np.testing.assert_array_equal(dilate(network, 32)(images), network(images))
    maps = dilate(network, 8, maps=True)(images)
    assert [int(stride) for stride in maps] == strides
    for stride, features in zip(strides, maps.values(), strict=True):
        corner = int(grid.corners)
        assert features.shape[1:3] == (64 // stride + corner, 96 // stride + corner)


def asymmetry(network, images):
    """Return how far features of mirrored images are from mirrored ones; changes the kernels."""
    for weight in network.trainable_variables:
        if len(weight.shape) == 4:
            weight.assign((weight + np.flip(weight, axis=1)) / 2)
    features = network(images)
    mirrored = network(images[:, :, ::-1])[:, :, ::-1]
    return np.abs(mirrored - features).max() / np.abs(features).max()
