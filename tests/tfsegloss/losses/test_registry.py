"""A loss is in the contract, the pictures and the benchmark by its entry in the registry alone."""

import pytest
import tensorflow as tf

import tfsegloss
from tests.tfsegloss import variants
from tests.tfsegloss.contract import (
    test_config,
    test_graphs,
    test_hostile,
    test_ignored,
    test_values,
)
from tests.tfsegloss.steps import step_of
from tfsegloss import PixelLoss, SegmentationLoss
from tfsegloss.benchmark.losses import losses
from tfsegloss.core.keras_versions import keras
from tfsegloss.core.targets import one_hot, zero_ignored
from tfsegloss.losses import registry


@keras.saving.register_keras_serializable(package="tests")
class ToyLoss(PixelLoss):
    """Squared error of the probabilities of a softmax, scaled."""

    activation = "softmax"

    def __init__(
        self,
        *,
        scale=2.0,
        from_logits=True,
        ignore_class=255,
        class_weights=None,
        pooling=None,
        reduction="sum_over_batch_size",
        name=None,
    ):
        super().__init__(
            from_logits=from_logits,
            ignore_class=ignore_class,
            class_weights=class_weights,
            pooling=pooling,
            reduction=reduction,
            name=name,
        )
        self.scale = scale

    def pixel_losses(self, targets, logits):
        x = zero_ignored(logits, targets.valid)
        errors = tf.nn.softmax(x) - one_hot(targets, logits.shape[-1], logits.dtype)
        return self.scale * tf.reduce_sum(tf.square(errors), axis=-1)


@pytest.fixture
def make(monkeypatch):
    monkeypatch.setitem(registry.LOSSES, "ToyLoss", ToyLoss)
    return variants.find_variants()["ToyLoss"]


def test_the_contract_takes_it(make):
    assert isinstance(make(), ToyLoss)
    test_values.test_every_part_has_a_gradient(make)
    test_values.test_one_float32_number_per_image(make)
    test_values.test_probabilities_equal_logits(make)
    test_values.test_one_hot_equals_ids(make)
    test_ignored.test_logits(make, float("nan"))
    test_graphs.test_dynamic_shapes(make)
    test_hostile.assert_finite(step_of(make()), tf.float32)
    test_config.test_config_round_trip_keeps_values(make)
    test_config.test_config_round_trip_keeps_every_option(registry.LOSSES["ToyLoss"])


def test_pictures_and_the_benchmark_find_it(make):
    assert isinstance(registry.losses_by_name(["ToyLoss"])["ToyLoss"], ToyLoss)
    assert losses()["ToyLoss"] is ToyLoss


def test_no_public_loss_is_missing():
    public = (getattr(tfsegloss, name) for name in tfsegloss.__all__)
    losses = {c.__name__ for c in public if isinstance(c, type) and issubclass(c, SegmentationLoss)}
    bases = {"PixelLoss", "SegmentationLoss", "WeightedLosses"}
    assert losses - bases == registry.losses_by_name().keys()
