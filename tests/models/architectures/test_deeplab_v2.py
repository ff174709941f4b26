import keras
import numpy as np
import pytest

from tests.models.architectures.checks import check_deconvolution
from tests.models.networks import build, built


@pytest.mark.parametrize(
    ("output_stride", "rates"), [(None, [6, 12, 18, 24]), (16, [3, 6, 9, 12]), (32, [1, 3, 4, 6])]
)
def test_rates_are_stated_for_stride_8(output_stride, rates):
    model = built("deeplab_v2", output_stride=output_stride)
    found = [model.get_layer(f"aspp_branch{i}").dilation_rate[0] for i in (1, 2, 3, 4)]
    assert found == rates


def test_it_sums_its_classifiers(images):
    model = built("deeplab_v2")
    branches = [model.get_layer(f"aspp_branch{i}") for i in (1, 2, 3, 4)]
    parts = keras.Model(model.input, [layer.output for layer in branches])(images(1, 33, 33, 3))
    logits = keras.Model(model.input, model.get_layer("logits").output)(images(1, 33, 33, 3))
    np.testing.assert_allclose(sum(parts), logits, atol=1e-6)
    assert all(layer.use_bias for layer in branches)


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("kind", ["same", "padded"])
def test_deconvolution_starts_bilinear(kind, output_stride, images):
    options = {"upsampling": "deconvolution", "output_stride": output_stride}
    check_deconvolution(build("deeplab_v2", kind=kind, **options), output_stride, images)
