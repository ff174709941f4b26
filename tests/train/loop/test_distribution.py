"""Which strategy is picked, without GPUs and with two."""

import pytest
import tensorflow as tf

from train.common.errors import UserError
from train.loop.distribution import choose_strategy


@pytest.mark.parametrize("replicas", [None, 1])
def test_one_device_needs_no_strategy(replicas):
    assert choose_strategy(replicas) is tf.distribute.get_strategy()


def test_several_replicas_split_the_cpu():
    strategy = choose_strategy(2)
    assert isinstance(strategy, tf.distribute.MirroredStrategy)
    assert strategy.num_replicas_in_sync == 2


@pytest.fixture
def two_gpus(monkeypatch):
    """Pretend that there are two GPUs, as far as the choice can see."""
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [f"{kind}:0", f"{kind}:1"])
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda devices: devices)


def test_all_gpus_take_part(two_gpus):
    assert choose_strategy() == choose_strategy(2) == ["GPU:0", "GPU:1"]
    assert choose_strategy(1) is tf.distribute.get_strategy()


def test_more_replicas_than_gpus_is_an_error(two_gpus):
    with pytest.raises(UserError, match="at most 2, the GPUs found; got 3"):
        choose_strategy(3)
