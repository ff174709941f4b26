"""Which devices train: the one function that picks the strategy."""

from collections.abc import Callable

import tensorflow as tf

from train.common.errors import UserError
from train.loop.cluster import ALONE, Worker
from train.loop.cluster_start import CLUSTER_TIMEOUT, cluster_strategy


def choose_strategy(
    replicas: int | None = None, worker: Worker = ALONE, timeout: float = CLUSTER_TIMEOUT
) -> tf.distribute.Strategy:
    """Return the strategy for this machine; to be called before TensorFlow touches a device.

    Args:
        replicas: Devices to train on, at least 1. None: all GPUs, else the CPU. More than one
            without a GPU: the CPU is split into logical devices, which shows that distribution is
            right, not fast. Of a cluster each worker has all its GPUs, or its CPU.
        worker: Which of several processes this is.
        timeout: Seconds to wait for the others.

    Returns:
        `MultiWorkerMirroredStrategy` in a cluster, else `MirroredStrategy` over several devices,
        TensorFlow's default strategy on one.

    Raises:
        UserError: There are GPUs, but fewer than replicas; or replicas are asked for in a cluster.
    """
    if worker.count > 1:
        if replicas is not None:
            raise UserError(
                "trainer.replicas must be null in a cluster, whose workers take all their GPUs; "
                f"got {replicas}"
            )
        return cluster_strategy(worker, timeout)
    gpus = tf.config.list_physical_devices("GPU")
    count = replicas if replicas is not None else max(len(gpus), 1)
    if gpus and count > len(gpus):
        raise UserError(
            f"trainer.replicas must be at most {len(gpus)}, the GPUs found; got {count}"
        )
    if count == 1:
        return tf.distribute.get_strategy()
    if not gpus:
        _split_cpu(count)
    kind = "GPU" if gpus else "CPU"
    return tf.distribute.MirroredStrategy([f"{kind}:{i}" for i in range(count)])


def _split_cpu(count: int) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    if len(tf.config.get_logical_device_configuration(cpu) or ()) < count:
        devices = [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
        tf.config.set_logical_device_configuration(cpu, devices)


def on_all_devices(
    strategy: tf.distribute.Strategy,
    worker: Worker,
    classify: Callable[[tf.Tensor], tf.Tensor],
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Let a function of images be computed on all devices of this process, a part on each.

    Args:
        strategy: Whose devices.
        worker: This process.
        classify: From images `[B, …]` to values `[B, …]`; a `tf.function`.

    Returns:
        The same function; images that cannot be shared are left to the first device.
    """
    devices = strategy.num_replicas_in_sync // worker.count

    def shared(images: tf.Tensor) -> tf.Tensor:
        if devices == 1 or len(images) % devices:
            return classify(images)
        parts = tf.split(images, devices)
        values = strategy.experimental_distribute_values_from_function(
            lambda context: parts[context.replica_id_in_sync_group % devices]
        )
        # A `tf.function` itself would be given the images of all devices.
        results = strategy.run(lambda part: classify(part), args=(values,))
        results = strategy.experimental_local_results(results)
        return tf.concat(results, axis=0)

    return shared
