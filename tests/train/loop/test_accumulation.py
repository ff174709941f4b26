"""A step in parts is the step of the whole batch."""

import numpy as np
import pytest
import tensorflow as tf

import tfsegloss
from tests.train.loop.small_trainer import batches, make_trainer, two_convolutions, with_memory

ONE_DEVICE = tf.distribute.get_strategy()
LOSSES = {
    "LMPLoss": tfsegloss.LMPLoss,
    "RMILoss": tfsegloss.RMILoss,
    "SSLLoss": tfsegloss.SSLLoss,
    "DiceLoss": tfsegloss.DiceLoss,
    "CenterLoss": lambda: tfsegloss.CenterLoss(weight=0.1),
}
FAST = ("LMPLoss", "SSLLoss", "DiceLoss")


def weights_after(data, folder, strategy=ONE_DEVICE, make_model=two_convolutions, **options):
    trainer = make_trainer(strategy, make_model, folder, **options)
    steps = []
    for images, ids in data:
        dataset = tf.data.Dataset.from_tensors((images, ids)).unbatch().batch(4)
        (batch,) = strategy.experimental_distribute_dataset(dataset)
        steps.append({name: float(v) for name, v in trainer.train_step(batch).items()})
    return steps, [v.numpy() for v in trainer.model.weights]


@pytest.mark.usefixtures("without_clusters")
@pytest.mark.parametrize(
    "loss",
    [pytest.param(loss, marks=[] if loss in FAST else pytest.mark.full) for loss in LOSSES],
)
def test_parts_with_very_unequal_labels_make_the_step_of_all(tmp_path, float64, loss):
    """Half of the images have almost no labels: means of parts would be far off."""
    data = list(batches(2, dtype=np.float64))
    whole, parts = (
        weights_after(data, tmp_path, loss=LOSSES[loss](), accumulation=n) for n in (1, 4)
    )
    for ours, theirs in zip(parts[0], whole[0], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-9)
    for ours, theirs in zip(parts[1], whole[1], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


@pytest.mark.usefixtures("without_clusters")
def test_parts_on_two_replicas(two_replicas, tmp_path, float64):
    data = list(batches(2, dtype=np.float64))
    options = {"loss": tfsegloss.RMILoss()}
    expected = weights_after(data, tmp_path, **options)[1]
    actual = weights_after(data, tmp_path, two_replicas, accumulation=2, **options)[1]
    for ours, theirs in zip(actual, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


@pytest.mark.usefixtures("without_clusters")
def test_a_part_passes_twice_with_the_same_dropout_and_is_counted_once(tmp_path, monkeypatch):
    """As a network that passes once does: its gradient is that of the loss that was seen."""
    data = list(batches(1))
    trainer = make_trainer(ONE_DEVICE, with_memory, tmp_path, accumulation=2)
    seen = []
    forward = trainer._step._logits
    monkeypatch.setattr(
        trainer._step, "_logits", lambda images: seen.append(forward(images)) or seen[-1]
    )
    tf.config.run_functions_eagerly(True)
    try:
        trainer.train_step(data[0])
    finally:
        tf.config.run_functions_eagerly(False)
    first, second, first_again, second_again = seen
    np.testing.assert_array_equal(first, first_again)
    np.testing.assert_array_equal(second, second_again)
    assert (first.numpy() != second.numpy()).any()
    once = make_trainer(ONE_DEVICE, with_memory, tmp_path)
    for images in np.split(data[0][0], 2):
        once.model(images, training=True)
    changing = [v for v in trainer.model.variables if not v.trainable]
    expected = [v for v in once.model.variables if not v.trainable]
    assert len(changing) == 3  # two statistics and a random generator
    for ours, theirs in zip(changing, expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)


@pytest.mark.usefixtures("without_clusters")
def test_statistics_and_dropout_are_put_back_on_two_replicas(two_replicas, tmp_path):
    """Each replica's statistics are then those of its parts seen once, whatever the dropout."""
    ((images, ids),) = batches(1)
    trainer = make_trainer(two_replicas, with_memory, tmp_path, accumulation=2)
    dataset = tf.data.Dataset.from_tensors((images, ids)).unbatch().batch(4)
    (batch,) = two_replicas.experimental_distribute_dataset(dataset)
    trainer.train_step(batch)
    once = make_trainer(two_replicas, with_memory, tmp_path)
    first, second = trainer._step._split(batch[0])
    for part in (first, second):
        two_replicas.run(lambda x: once.model(x, training=True), args=(part,))
    found, expected = (
        [v.numpy() for v in t.model.variables if not v.trainable] for t in (trainer, once)
    )
    assert len(found) == 3
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
