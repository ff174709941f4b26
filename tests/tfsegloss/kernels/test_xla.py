"""Which device a loss is planned for, and what that means for a loop."""

import pytest
import tensorflow as tf

from tfsegloss.kernels import xla


def test_a_plan_ends_with_its_context():
    outside = xla.planned_device()
    with xla.planned_for("GPU"):
        with xla.planned_for("CPU"):
            assert xla.planned_device() == "CPU"
        assert xla.planned_device() == "GPU"
    assert xla.planned_device() == outside


def test_other_devices_are_refused():
    with pytest.raises(ValueError, match="`device` must be"), xla.planned_for("TPU"):
        pass


@pytest.mark.parametrize("device", ["CPU:0", "GPU:0"])
def test_the_device_of_the_loss_reaches_its_cluster(device):
    found = []

    def cluster(x):
        found.append(xla.planned_device())
        return x

    def loss(x):
        with tf.device(device):
            return xla.compiled(cluster, x)

    tf.function(loss).get_concrete_function(tf.TensorSpec([2, 3]))
    assert found == [device[:3]]


@pytest.mark.parametrize("count", [0, 3, 1000])
def test_a_gpu_takes_all_that_memory_holds_and_a_cpu_what_its_cache_holds(count):
    with xla.planned_for("CPU"):
        assert xla.at_once(count, on_cpu=64, bytes_each=[1]) == min(count, 64)
    with xla.planned_for("GPU"):
        assert xla.at_once(count, on_cpu=64, bytes_each=[1]) == count
        assert xla.at_once(count, on_cpu=64, bytes_each=[xla.GPU_BYTES // 10]) == min(count, 10)
        assert xla.at_once(count, on_cpu=64, bytes_each=[2, xla.GPU_BYTES]) == min(count, 1)


def test_sizes_that_a_graph_does_not_know():
    with xla.planned_for("GPU"):
        once = tf.function(lambda n, size: xla.at_once(n, on_cpu=4, bytes_each=[size, 2]))
        assert once(tf.constant(9), tf.constant(0)) == 9
        assert once(tf.constant(9), tf.constant(xla.GPU_BYTES // 8)) == 4
        # More than an int32 holds.
        assert once(tf.constant(9), tf.constant(xla.GPU_BYTES)) == 1


def test_a_plan_holds_in_the_threads_of_replicas(two_replicas):
    with xla.planned_for("GPU"):
        found = []
        two_replicas.run(lambda: found.append(xla.planned_device()))
    assert found == ["GPU", "GPU"]
