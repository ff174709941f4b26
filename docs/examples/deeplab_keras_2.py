"""A DeepLab under Keras 2 with TensorFlow Addons: two learning rates, averaged weights.

    python docs/examples/deeplab_keras_2.py FOLDER [STEPS]

FOLDER is a dataset in the layout of PASCAL VOC, such as the scenes that `make demo` leaves in
data/scenes. Needs `pip install -e ".[addons]" Pillow`; see docs/keras_2.md. All devices that
TensorFlow sees train together.
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa
from PIL import Image

from tfsegloss import MeanIoU, RMILoss

SIZE = (96, 128)
NUM_CLASSES = 11
HEAD_MULTIPLIER = 10  # as DeepLab's papers train their heads
RATES = (2, 4, 6)  # of a feature map of 6×8

keras = tf.keras


def read_scenes(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images `[N, H, W, 3]` and ids `[N, H, W]` of a split.

    The labels are palette PNGs, which TensorFlow decodes to colors: Pillow keeps the ids.
    """
    images, ids = [], []
    height, width = SIZE
    for name in (folder / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().split():
        with Image.open(folder / "JPEGImages" / f"{name}.jpg") as image:
            images.append(np.asarray(image.resize((width, height))))
        with Image.open(folder / "SegmentationClass" / f"{name}.png") as labels:
            ids.append(np.asarray(labels.resize((width, height), Image.Resampling.NEAREST)))
    return np.stack(images), np.stack(ids)


def build_deeplab(weights: str | None = None) -> tuple[keras.Model, list, list]:
    """Return a DeepLab V3 on MobileNetV2 at output stride 16, its backbone's layers and its head's.

    Args:
        weights: "imagenet", or None for random ones.
    """
    backbone = keras.applications.MobileNetV2(
        input_shape=(*SIZE, 3), alpha=0.35, include_top=False, weights=weights
    )
    inputs = keras.Input((*SIZE, 3))
    features = keras.Model(backbone.input, backbone.get_layer("block_13_expand_relu").output)
    x = features(keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs))

    head = [
        keras.layers.Conv2D(
            32, 3 if rate > 1 else 1, padding="same", dilation_rate=rate, activation="relu"
        )
        for rate in (1, *RATES)
    ]
    logits = keras.layers.Conv2D(NUM_CLASSES, 1, name="logits")
    x = logits(keras.layers.Concatenate()([layer(x) for layer in head]))
    x = keras.layers.UpSampling2D(16, interpolation="bilinear")(x)
    return keras.Model(inputs, x), [features], [*head, logits]


class MultiOptimizer(tfa.optimizers.MultiOptimizer):
    """That of TensorFlow Addons, with lists of gradients that each replica has for itself.

    Theirs keeps them in the optimizer, where the next replica overwrites them before the second
    group's are applied: on two replicas that group gets one replica's gradients twice, or an error.
    """

    def apply_gradients(self, grads_and_vars, **options):
        """Hand each group's optimizer its gradients."""
        pairs = list(grads_and_vars)
        for spec in self.optimizer_specs:
            own = [(gradient, v) for gradient, v in pairs if v.name in spec["weights"]]
            spec["optimizer"].apply_gradients(own, **options)
        return self.iterations.assign_add(1)


def two_rates(
    learning_rate: float, backbone: list, head: list, *, multiplier: float = HEAD_MULTIPLIER
) -> tuple[MultiOptimizer, list[tuple[tfa.optimizers.MovingAverage, list]]]:
    """Return the optimizer of both groups, and each group's own with its layers.

    The averages stand inside: `MovingAverage` hands single gradients to what it wraps, and a
    `MultiOptimizer`, which sorts whole lists of them, takes none.

    Args:
        learning_rate: Of the backbone.
        backbone: Layers.
        head: Layers.
        multiplier: Times which the head's learning rate is the backbone's.
    """
    groups = [
        (
            tfa.optimizers.MovingAverage(
                keras.optimizers.legacy.SGD(rate, momentum=0.9), average_decay=0.9
            ),
            layers,
        )
        for rate, layers in ((learning_rate, backbone), (multiplier * learning_rate, head))
    ]
    return MultiOptimizer(groups), groups


def make_slots(
    strategy: tf.distribute.Strategy, optimizer: MultiOptimizer, model: keras.Model
) -> None:
    """Make the optimizer's variables by a step of gradients of 0, which moves no weight.

    An average starts as a copy of its weight, which the graph of `fit` cannot make on replicas.
    """

    def step_of_zero() -> None:
        optimizer.apply_gradients([(tf.zeros_like(v), v) for v in model.trainable_variables])

    strategy.run(step_of_zero)


def use_averages(groups: list[tuple[tfa.optimizers.MovingAverage, list]]) -> None:
    """Put the averages of the weights in their place, for evaluation and export."""
    for optimizer, layers in groups:
        optimizer.assign_average_vars([v for layer in layers for v in layer.trainable_variables])


def train(folder: Path, steps: int, batch_size: int = 4) -> tuple[keras.Model, list[float]]:
    """Return the trained model with averaged weights, and the loss of every step."""
    images, ids = read_scenes(folder, "train")
    data = tf.data.Dataset.from_tensor_slices((images, ids)).shuffle(len(ids), seed=0).repeat()
    data = data.batch(batch_size).prefetch(tf.data.AUTOTUNE)

    strategy = tf.distribute.MirroredStrategy()
    with strategy.scope():
        model, backbone, head = build_deeplab()
        optimizer, groups = two_rates(0.005, backbone, head)
        model.compile(
            optimizer=optimizer,
            loss=RMILoss(downsample_factor=4),
            metrics=[MeanIoU(num_classes=NUM_CLASSES)],
        )
    make_slots(strategy, optimizer, model)
    losses = []
    log = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: losses.append(logs["loss"])
    )
    # Epochs of one step: a log for each.
    model.fit(data, steps_per_epoch=1, epochs=steps, callbacks=[log], verbose=0)
    use_averages(groups)
    return model, losses


if __name__ == "__main__":
    scenes = Path(sys.argv[1])
    trained, history = train(scenes, int(sys.argv[2]) if sys.argv[2:] else 20)
    print(f"loss: {history[0]:.3f} in the first step, {history[-1]:.3f} in the last")
    loss, mean_iou = trained.evaluate(*read_scenes(scenes, "val"), verbose=0)
    print(f"with averaged weights: loss {loss:.3f}, mean IoU {mean_iou:.3f}")
    trained.save_weights("deeplab_keras_2.weights.h5")
