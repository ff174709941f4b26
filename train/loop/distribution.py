"""Which devices train: the one function that picks the strategy, and work for each of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Devices:
    """The devices of this process, which compute at once.

    Args:
        strategy: Whose devices; None: there is one.
        worker: This process.
    """

    strategy: tf.distribute.Strategy | None = None
    worker: Worker = ALONE

    @property
    def count(self) -> int:
        """How many they are."""
        return self.strategy.num_replicas_in_sync // self.worker.count if self.strategy else 1

    def map(
        self, classify: Callable[[tf.Tensor], tf.Tensor], batches: Sequence[tf.Tensor]
    ) -> Sequence[tf.Tensor]:
        """Return what a function makes of batches, each on a device of its own.

        Args:
            classify: From images `[B, …]` to values `[B, …]`; a `tf.function`.
            batches: Images `[B, …]` of any sizes; at most one batch for each device.
        """
        if self.count == 1:
            return [classify(images) for images in batches]
        # A device that is left over gets no images.
        given = [*batches, *[batches[0][:0]] * (self.count - len(batches))]
        values = self.strategy.experimental_distribute_values_from_function(
            lambda context: given[context.replica_id_in_sync_group % self.count]
        )

        # A `tf.function` itself would be given the images of all devices.
        def on_one(images: tf.Tensor) -> tf.Tensor:
            return classify(images) if len(images) else images

        results = self.strategy.run(on_one, args=(values,))
        return self.strategy.experimental_local_results(results)[: len(batches)]


ONE_DEVICE = Devices()
