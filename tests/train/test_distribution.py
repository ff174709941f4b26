"""Which strategy is picked on a machine without a GPU."""

import pytest
import tensorflow as tf

from train.distribution import choose_strategy
from train.errors import UserError

pytestmark = pytest.mark.skipif(
    bool(tf.config.list_physical_devices("GPU")), reason="describes a machine without a GPU"
)


@pytest.mark.parametrize("replicas", [None, 1])
def test_one_device_needs_no_strategy(replicas):
    assert choose_strategy(replicas) is tf.distribute.get_strategy()


def test_several_replicas_split_the_cpu():
    strategy = choose_strategy(2)
    assert isinstance(strategy, tf.distribute.MirroredStrategy)
    assert strategy.num_replicas_in_sync == 2


def test_no_replica_is_an_error():
    with pytest.raises(UserError, match="trainer.replicas.*got 0"):
        choose_strategy(0)
