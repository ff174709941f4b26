"""A run that is not finite: the first tensor and the images are named, however late it is seen."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfsegloss
from tests.train.loop.small_trainer import (
    batches,
    make_trainer,
    two_convolutions,
    with_memory,
)
from train.common.errors import NotFiniteError
from train.config import TrainerConfig
from train.data.input.sampling import ComplementaryWeights
from train.loop import meetings
from train.loop.evaluation import Scores
from train.loop.fit import fit
from train.loop.not_finite import FirstNotFinite, explained

pytestmark = pytest.mark.usefixtures("without_clusters")

ONE_DEVICE = tf.distribute.get_strategy()


@keras.saving.register_keras_serializable(package="tests")
class SpoiltLoss(tfsegloss.SigmoidCrossEntropy):
    """Has a second part, which is √ of how far the first label of a batch is from id 1."""

    def terms(self, targets, logits, pixel_weights):
        terms = super().terms(targets, logits, pixel_weights)
        spoilt = tf.reduce_all(targets.ids == 2)
        value = tf.sqrt(tf.where(spoilt, -1.0, 0.0))
        return {**terms, "second": 0 * next(iter(terms.values())) + value}


class Spoilt(keras.layers.Layer):
    """Divides by 0 where an image is all white, and gives 0 again in the layer after."""

    def call(self, x):
        return x / tf.cast(tf.reduce_max(tf.abs(x - 255), [1, 2, 3], keepdims=True) > 0, x.dtype)


class InfiniteGradient(keras.layers.Layer):
    """x + √(0 · s), whose gradient by the weight s is NaN, of white images; else x + 1 + 0 · s."""

    def build(self, _):
        self.s = self.add_weight(shape=(), initializer="zeros", name="s")

    def call(self, x):
        x += 0 * self.s.value
        return x + tf.sqrt(tf.where(tf.reduce_all(x == 255), 0 * self.s.value, 1))


def network(layer):
    def make():
        return keras.Sequential(
            [
                keras.Input((None, None, 3)),
                layer(name="spoilt"),
                keras.layers.Conv2D(3, 1, name="logits"),
            ]
        )

    return make


def white(batch, images=slice(None)):
    pixels, ids = (values.copy() for values in batch)
    pixels[images] = 255
    return pixels, ids


def stop(folder, make, data, loss=None, strategy=ONE_DEVICE, every=3, **options):
    """Train until the error, and return what `explained` makes of it, and the trainer."""
    loss = loss or tfsegloss.SoftmaxCrossEntropy()
    trainer = make_trainer(strategy, make, folder, loss, steps=len(data), **options)
    config = TrainerConfig(steps=len(data), evaluate_every=100, checkpoint_every=every)
    distribute = strategy.experimental_distribute_dataset

    def stream(first_step):
        rest = data[first_step:]
        signature = [tf.TensorSpec([4, *values.shape[1:]], values.dtype) for values in data[0]]
        dataset = tf.data.Dataset.from_generator(lambda: rest, output_signature=tuple(signature))
        return distribute(dataset)

    with pytest.raises(NotFiniteError) as caught:
        fit(trainer, stream, config, lambda: Scores(np.eye(3), tuple("abc"), 1), [])

    def names(step):
        return [f"image{4 * step + i}" for i in range(4)]

    before = sorted(path.name for path in folder.iterdir())
    error = explained(caught.value, trainer, config, stream, names)
    assert sorted(path.name for path in folder.iterdir()) == before
    return str(error), trainer


@pytest.fixture(autouse=True)
def _seldom_read(monkeypatch):
    """Only where a checkpoint is due: the loss is read several steps too late."""
    monkeypatch.setattr(meetings, "SECONDS", 1e9)


def test_a_layer_that_divides_by_zero(tmp_path):
    data = [*batches(8)]
    data[4] = white(data[4], [1, 3])
    message, _ = stop(tmp_path, network(Spoilt), data)
    assert message == (
        "the loss is not finite at step 5: in step 5 the first tensor that is not is the output of "
        "the layer spoilt (Spoilt) for image17, image19, of the batch of image16, image17, "
        "image18, image19; lower optimizer.learning_rate, or look for labels out of range"
    )


def test_before_the_first_checkpoint(tmp_path):
    data = [*batches(8)]
    data[1] = white(data[1], [2])
    message, _ = stop(tmp_path, network(Spoilt), data, every=8)
    assert "at step 2: in step 2 the first tensor that is not is the output of" in message
    assert "for image6, of the batch of image4, image5, image6, image7;" in message


def test_a_part_of_the_loss(tmp_path):
    data = [*batches(8)]
    data[6] = data[6][0], np.full_like(data[6][1], 2)
    message, _ = stop(tmp_path, two_convolutions, data, SpoiltLoss())
    assert "in step 7 the first tensor that is not is the part second of the loss, of" in message
    assert "of the batch of image24," in message


def test_a_gradient_that_spoils_the_step_after(tmp_path):
    """The loss of step 5 is still finite; the images of step 5 are named all the same."""
    data = [*batches(8)]
    data[4] = white(data[4])
    loss = tfsegloss.SoftmaxCrossEntropy()
    message, _ = stop(tmp_path, network(InfiniteGradient), data, loss)
    beginning = "the loss is not finite at step 6: in step 5 the first tensor that is not is "
    assert message.startswith(f"{beginning}the gradient by the weight ")
    assert "/s, of the batch of image16, " in message


def test_a_weight_that_is_not_finite_before_the_first_step(tmp_path):
    def planted():
        model = two_convolutions()
        kernel = model.layers[-1].kernel
        kernel.assign(np.where(np.arange(3) == 1, np.inf, kernel.numpy()))
        return model

    message, trainer = stop(tmp_path, planted, [*batches(3)])
    kernel = trainer.model.trainable_variables[2].path
    assert message.startswith(
        "the loss is not finite at step 1: in step 1 the first tensor that is not is "
        f"the weight {kernel} before it, of the batch of image0, "
    )


def test_weights_that_are_spoilt_long_before_the_loss(tmp_path):
    """The loss does not see them: the checkpoint's own look at the weights finds them."""
    data = [*batches(8)]
    data[1] = white(data[1])
    model = network(InfiniteGradient)

    class Blind(tfsegloss.SoftmaxCrossEntropy):
        def terms(self, targets, logits, pixel_weights):
            known = tf.where(tf.math.is_finite(logits), logits, 0)
            return super().terms(targets, known, pixel_weights)

    message, _ = stop(tmp_path, model, data, Blind(), every=6)
    assert message.startswith("a weight is not finite at step 6: in step 2 the first tensor that")
    assert "of the batch of image4, " in message


@pytest.mark.parametrize("accumulation", [pytest.param(1, marks=pytest.mark.full), 2])
def test_on_two_replicas_and_in_parts(two_replicas, tmp_path, accumulation):
    """The images' places in the batch are right whatever share they are in."""
    data = [*batches(4)]
    data[2] = white(data[2], [0, 3])
    if accumulation == 2:
        message, _ = stop(tmp_path, network(Spoilt), data, every=4, accumulation=2)
    else:
        message, _ = stop(tmp_path, network(Spoilt), data, strategy=two_replicas, every=4)
    assert "in step 3 the first tensor that is not is the output of the layer spoilt" in message
    assert "for image8, image11, of the batch" in message


def test_looking_changes_nothing(tmp_path):
    """Neither dropout's state, nor running statistics, nor the loss' own."""
    options = {"sampling_weights": ComplementaryWeights(3)}
    trainer = make_trainer(ONE_DEVICE, with_memory, tmp_path, **options)
    data = [*batches(2)]
    trainer.train_step(data[0])

    def state():
        parts = trainer.model, trainer.optimizer, trainer.loss, trainer.sampling_weights
        return [np.array(v) for part in parts for v in part.variables]

    before, look = state(), FirstNotFinite(trainer)
    assert look(data[1]) is None
    for one, other in zip(state(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    trainer.train_step(data[1])
    assert any((one != other).any() for one, other in zip(state(), before, strict=True))


def test_what_cannot_be_found_again_is_said(tmp_path):
    data = [*batches(4)]
    trainer = make_trainer(ONE_DEVICE, two_convolutions, tmp_path)
    trainer.save()
    config = TrainerConfig(steps=4)
    error = NotFiniteError("the loss", 2)
    message = str(explained(error, trainer, config, lambda s: data[s:], lambda s: ["a", "b"]))
    assert "at step 2; the batch is of a, b; taken again since the last checkpoint" in message
