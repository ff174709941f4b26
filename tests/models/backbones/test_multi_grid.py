"""Multi-grid rates, against TensorFlow's convolutions with the rates written out."""

import keras
import numpy as np
import pytest

import models
from models.backbones.encoder import build_backbone
from models.backbones.multi_grid import with_multi_grid
from models.backbones.resnet_beta import LAST_BLOCK, resnet101_beta
from models.dilation.dilate import dilate
from models.weights.slim_names import SCOPES, slim_variables
from tests.models.dilation import consistency
from tests.models.networks import backbone, fit_batch_norm
from tests.models.weights.slim_networks import EPSILON, TOLERANCE
from tests.models.weights.slim_reference import Reference, distance, random_values

PAPER = (1, 2, 4)

pytestmark = pytest.mark.usefixtures("thin")


def noise(*sides):
    return np.random.default_rng(0).uniform(-1, 1, (2, *sides, 3)).astype("float32")


def rates_of(network):
    return [network.get_layer(name).dilation_rate[0] for name in LAST_BLOCK]


@pytest.fixture(scope="module")
def network(thin):
    keras.utils.set_random_seed(0)
    made = resnet101_beta()
    fit_batch_norm(made, noise(65, 65))
    return made


@pytest.fixture(scope="module")
def values(thin):
    """Return those of a checkpoint, fitted to a network with the paper's rates."""
    shapes = {name: x.shape for name, x in slim_variables("resnet101_beta", "backbone").items()}
    fitted = reference(random_values(shapes), fit=True)
    fitted.backbone(noise(65, 65), 16)
    return fitted.values


def reference(values, multi_grid=PAPER, **options):
    scope, epsilon = SCOPES["resnet101_beta"][0], EPSILON["resnet101_beta"]
    return Reference(values, scope=scope, epsilon=epsilon, multi_grid=multi_grid, **options)


@pytest.mark.parametrize(
    ("output_stride", "rates"),
    [
        (8, PAPER),
        pytest.param(16, PAPER, marks=pytest.mark.full),
        pytest.param(16, (2, 1, 3), marks=pytest.mark.full),
    ],
)
def test_features_are_those_of_the_rates_written_out(values, output_stride, rates):
    encoder = build_backbone("resnet101_beta", output_stride=output_stride, multi_grid=rates)
    for name, target in slim_variables("resnet101_beta", "backbone").items():
        getattr(encoder.network.get_layer(target.layer), target.weight).assign(values[name])
    images = noise(65, 97)
    expected = reference(values, rates).backbone(images, output_stride)
    usual = reference(values, (1, 1, 1)).backbone(images, output_stride)
    assert distance(usual, expected) > 0.1  # the rates do count
    assert distance(encoder.maps(images)[output_stride], expected) < TOLERANCE


def test_every_output_stride_has_the_same_features(network):
    """Weights trained at one stride are right at the others."""
    copy = with_multi_grid(network, LAST_BLOCK, PAPER)
    images = noise(65, 97)
    sparse = copy(images)
    for output_stride in (8, 16):
        dense = dilate(copy, output_stride)(images)
        assert consistency.distance(dense, sparse, 32 // output_stride) < consistency.TOLERANCE


@pytest.mark.parametrize(("output_stride", "rate"), [(32, 1), (16, 2), (8, 4)])
def test_the_last_block_sees_fifteen_cells_of_its_rate(network, output_stride, rate):
    """±1 ±2 ±4 reach every cell from -7 to 7, times the rate that stands for the strides."""
    dilated = dilate(with_multi_grid(network, LAST_BLOCK, PAPER), output_stride)
    assert rates_of(dilated) == [rate, 2 * rate, 4 * rate]
    entry = dilated.get_layer("block4_unit_1_conv1").input
    block = keras.Model(entry, dilated.output)
    block.set_weights([np.abs(x) + 0.1 for x in block.get_weights()])  # nothing cancels out
    side = 20 * rate + 1
    flat = np.zeros((1, side, side, entry.shape[-1]), "float32")
    impulse = flat.copy()
    impulse[0, 10 * rate, 10 * rate] = 1
    response = np.abs(block(impulse) - block(flat)).sum(axis=(0, 3))
    rows, columns = np.nonzero(response)
    reached = {rate * (10 + offset) for offset in range(-7, 8)}
    assert {*zip(rows, columns, strict=True)} == {(y, x) for y in reached for x in reached}


def test_weights_are_those_of_the_network(network):
    copy = with_multi_grid(network, LAST_BLOCK, PAPER)
    assert [x.path for x in copy.weights] == [x.path for x in network.weights]
    for ours, theirs in zip(copy.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert rates_of(network) == [1, 1, 1]
    images = noise(65, 65)
    same = with_multi_grid(network, LAST_BLOCK, (1, 1, 1))
    np.testing.assert_array_equal(same(images), network(images))


@pytest.mark.full
def test_a_file_of_weights_fits_whatever_the_rates(tmp_path):
    options = {"backbone": "resnet101_beta", "num_classes": 3, "channels": 4, "atrous_rates": ()}
    path = tmp_path / "usual.weights.h5"
    usual = models.build("deeplab_v3", **options)
    usual.save_weights(path)
    model = models.build("deeplab_v3", **options, weights=path, multi_grid=PAPER)
    assert rates_of(model.get_layer("backbone")) == [2, 4, 8]
    for ours, theirs in zip(model.get_weights(), usual.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.full
@pytest.mark.parametrize("name", ["resnet50", "resnet101", "resnet152"])
def test_networks_of_keras(name):
    encoder = build_backbone(name, output_stride=8, multi_grid=PAPER)
    names = [f"conv5_block{i}_2_conv" for i in (1, 2, 3)]
    assert [encoder.network.get_layer(x).dilation_rate[0] for x in names] == [4, 8, 16]


@pytest.mark.parametrize("rates", [(1, 2), (1, 2, 0), (1, 2, 4.0), (True, 2, 4), 2, "124"])
def test_other_rates_are_refused(rates):
    with pytest.raises(ValueError, match=r"`multi_grid` must be None or 3 integers of at least 1"):
        build_backbone("resnet101_beta", multi_grid=rates)


@pytest.mark.parametrize("name", ["mobilenet_v2", "a model"])
def test_other_backbones_are_refused(name):
    made = backbone() if name == "a model" else name
    with pytest.raises(ValueError, match="`multi_grid` must be None: only some ResNets"):
        build_backbone(made, multi_grid=PAPER)


def test_the_refusal_names_each_backbone_that_has_such_a_block(monkeypatch):
    monkeypatch.setitem(models.BACKBONES, "made_up", models.BACKBONES["resnet101_beta"])
    names = "resnet50, resnet101, resnet152, resnet101_beta, resnet101_caffe, made_up"
    with pytest.raises(ValueError, match=rf"none of them taking its stride \({names}\)\."):
        build_backbone(backbone(), multi_grid=PAPER)
