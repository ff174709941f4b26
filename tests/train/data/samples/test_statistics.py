"""What is counted of a split's labels."""

import numpy as np

from train.data.samples.statistics import SplitStatistics, class_counts


def test_the_images_of_a_class_are_those_in_which_it_occurs():
    pixels = np.array([[6, 2, 0], [5, 0, 0]])
    none = np.zeros([2])
    counts = class_counts(SplitStatistics(pixels, none, none, none, none))
    assert counts.pixels.tolist() == [11, 2, 0]
    assert counts.image_pixels.tolist() == [13, 8, 0]
    assert counts.images.tolist() == [2, 1, 0]
