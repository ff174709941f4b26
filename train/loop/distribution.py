"""Which devices train: the one function that picks the strategy."""

import tensorflow as tf

from train.common.errors import UserError


def choose_strategy(replicas: int | None = None) -> tf.distribute.Strategy:
    """Return the strategy for this machine; to be called before TensorFlow touches a device.

    Args:
        replicas: Devices to train on, at least 1. None: all GPUs, else the CPU. More than one
            without a GPU: the CPU is split into logical devices, which shows that distribution is
            right, not fast.

    Returns:
        `MirroredStrategy` over several devices, TensorFlow's default strategy on one.

    Raises:
        UserError: There are GPUs, but fewer than replicas.
    """
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
