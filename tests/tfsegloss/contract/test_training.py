"""Every loss trains: under mixed precision, on two outputs, and another library's model."""

import numpy as np
import pytest

from tests import keras_versions
from tests.tfsegloss.examples import CLASSES, example
from tests.tfsegloss.grid import grid
from tests.tfsegloss.variants import FIRST, QUICK
from tfsegloss import MeanIoU, RMILoss
from tfsegloss.core.keras_versions import keras

# What a graph does with a loss does not depend on the model: other tests compile the clusters.
pytestmark = pytest.mark.usefixtures("without_clusters")


@pytest.fixture
def low_precision(dtype):
    keras_versions.set_dtype_policy(f"mixed_{dtype}")
    yield
    keras_versions.set_dtype_policy("float32")


def network(outputs=1):
    inputs = keras.Input((12, 12, CLASSES))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    heads = [
        keras.layers.Conv2D(CLASSES, 3, padding="same", name=f"head_{i}")(x) for i in range(outputs)
    ]
    return keras.Model(inputs, heads[0] if outputs == 1 else heads)


@pytest.mark.usefixtures("low_precision")
@grid(
    lambda make, dtype: dtype == "float16" and make in QUICK,
    make=FIRST,
    dtype=["float16", "bfloat16"],
)
def test_steps_in_mixed_precision(make, dtype):
    """The last layer's logits are of low precision too: the worst case."""
    ids, images = example((2, 12, 12))
    model = network()
    model.compile(optimizer=keras.optimizers.SGD(0.02), loss=make())
    history = [model.train_on_batch(images, ids) for _ in range(15)]
    assert np.isfinite(history).all()
    assert history[-1] < history[0]
    assert all(np.isfinite(weights).all() for weights in model.get_weights())
    if dtype == "float16":
        # Its optimizer skips steps of infinite or NaN gradients: a few, while it finds its scale.
        assert model.optimizer.inner_optimizer.iterations >= 10


# One with a variable of its own for each output, one without.
@grid(lambda make: make in ("SoftmaxCrossEntropy", "CenterLoss"), make=FIRST)
def test_two_outputs_with_loss_weights(make):
    """Deep supervision."""
    ids, images = example((2, 12, 12))
    model = network(outputs=2)
    model.compile(
        optimizer=keras.optimizers.SGD(0.02),
        loss=[make(), make()],
        loss_weights=[1.0, 0.4],
    )
    first, second = (float(make()(ids, logits)) for logits in model(images))
    history = model.fit(images, [ids, ids], epochs=5, verbose=0).history["loss"]
    np.testing.assert_allclose(history[0], first + 0.4 * second, rtol=1e-4)  # before its step
    assert history[-1] < history[0]


def test_a_segmenter_of_keras_hub_takes_a_step():
    keras_hub = pytest.importorskip("keras_hub", reason="KerasHub is not installed")
    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 64, 64, 64],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
        image_shape=(64, 64, 3),
    )
    deeplab = keras_hub.models.DeepLabV3Backbone(
        image_encoder=backbone,
        low_level_feature_key="P2",
        spatial_pyramid_pooling_key="P4",
        dilation_rates=[2, 4],
        upsampling_size=4,
    )
    model = keras_hub.models.DeepLabV3ImageSegmenter(deeplab, num_classes=CLASSES, activation=None)
    ids, _ = example((2, 64, 64))
    images = np.zeros([2, 64, 64, 3], np.float32)
    # Its own default metric wants one-hot labels.
    model.compile(optimizer="sgd", loss=RMILoss(), metrics=[MeanIoU(CLASSES)])
    assert np.isfinite(model.fit(images, ids, verbose=0).history["loss"]).all()
