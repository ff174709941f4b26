"""The architectures on real backbones; `test_architectures` has the small ones."""

import pytest

from models import ARCHITECTURES
from tests.models.architectures import checks
from tests.models.networks import build, built

pytestmark = pytest.mark.full

every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)
both_grids = pytest.mark.parametrize("backbone", ["mobilenet_v2", "efficientnet_lite0"])
every_policy = pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])


@every_architecture
@both_grids
@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_logits_have_the_size_of_the_image(architecture, backbone, output_stride, images):
    model = built(architecture, backbone=backbone, output_stride=output_stride)
    checks.check_sizes(model, images)


@pytest.mark.parametrize("backbone", ["resnet50", "resnet101"])
def test_resnets(backbone, images):
    checks.check_sizes(build("deeplab_v3_plus", backbone=backbone), images)


@every_architecture
def test_trained_saved_and_loaded_it_gives_the_same_logits(architecture, tmp_path, images):
    options = {"backbone": "efficientnet_lite0"}
    checks.check_training_saving_loading(tmp_path, images, architecture, **options)


@every_architecture
def test_exported_it_gives_the_same_logits(architecture, tmp_path, images):
    checks.check_export(built(architecture, backbone="mobilenet_v2"), tmp_path, images)


@every_architecture
@every_policy
@both_grids
def test_mixed_precision_is_finite(architecture, policy, backbone, images):
    options = {} if architecture == "deeplab_v2" else {"channels": None}
    x = images(1, 33, 41, 3)
    checks.check_mixed_precision(policy, x, architecture, backbone=backbone, **options)


@pytest.mark.slow
@every_policy
@pytest.mark.parametrize(
    "network",
    [
        ("deeplab_v2", "resnet101"),
        ("deeplab_v3", "resnet101_beta"),
        ("deeplab_v3_plus", "xception_65"),
        ("deeplab_v3_plus", "xception"),  # whose pools are dilated
    ],
    ids="-".join,
)
def test_mixed_precision_of_the_papers_networks_is_finite(network, policy, images):
    architecture, backbone = network
    options = {} if architecture == "deeplab_v2" else {"channels": None}
    x = images(2, 33, 41, 3)
    checks.check_mixed_precision(
        policy, x, architecture, backbone=backbone, output_stride=8, **options
    )


@every_architecture
@pytest.mark.parametrize("freeze", [False, True, "all"])
def test_frozen_batch_norm(architecture, freeze, images):
    x = images(2, 33, 33, 3)
    checks.check_frozen_batch_norm(freeze, x, architecture, backbone="efficientnet_lite0")


@pytest.mark.parametrize("freeze", [True, "all"])
def test_frozen_statistics_are_used_in_training(freeze, images, tmp_path):
    checks.check_frozen_statistics(freeze, tmp_path, images, backbone="efficientnet_lite0")


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@both_grids
def test_deconvolution_starts_bilinear(backbone, output_stride, images):
    options = {"upsampling": "deconvolution", "output_stride": output_stride}
    model = build("deeplab_v2", backbone=backbone, **options)
    checks.check_deconvolution(model, output_stride, images)


@pytest.mark.parametrize(("backbone", "channels"), [("mobilenet_v2", 64), ("resnet50", 256)])
def test_the_width_suits_the_backbone(backbone, channels):
    model = build("deeplab_v3_plus", backbone=backbone, channels=None)
    assert model.get_layer("aspp_project_conv").filters == channels
