"""Steps of a small network by every loss, by one process or by one of a cluster's."""

import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import tfsegloss
from tests.tfsegloss.variants import OPTIONS
from tests.train.loop.small_trainer import batches, make_trainer, two_convolutions
from tfsegloss.kernels import xla
from train.loop.cluster import ALONE, cluster_strategy, find_worker

LONG = ("SoftmaxCrossEntropy", "RMILoss", "SSLLoss", "LMPLoss")
STEPS = 10


def main():
    """Write the weights after the steps, as the first worker of ADDRESSES that is told NUMBER."""
    addresses, number, path = sys.argv[1:]
    worker = find_worker(addresses, int(number))
    strategy = cluster_strategy(worker, timeout=60)
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    xla.is_worth_compiling = lambda arguments: False  # which takes minutes for all losses
    weights = weights_after_steps(strategy, Path(path).parent, worker)
    if worker.is_first:
        np.savez(path, **weights)


def weights_after_steps(strategy, folder, worker=ALONE):
    """Return all weights after ten steps by the losses of LONG, and one by each other."""
    weights = {}
    for name in tfsegloss.registry.LOSSES:
        loss = getattr(tfsegloss, name)(**OPTIONS.get(name, {"": {}})[""])
        options = {"loss": loss, "worker": worker, "make_model": _synchronized}
        trainer = make_trainer(strategy, folder=folder / name, **options)
        for batch in batches(STEPS if name in LONG else 1, dtype=np.float64):
            trainer.train_step(_shared(strategy, batch))
        for number, weight in enumerate(trainer.model.weights):
            weights[f"{name} {number}"] = weight.numpy()
    return weights


def _synchronized():
    return two_convolutions(keras.layers.BatchNormalization(synchronized=True))


def _shared(strategy, batch):
    """Give each replica its share of a batch."""

    def share(values):
        parts = np.split(values, strategy.num_replicas_in_sync)
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(parts[context.replica_id_in_sync_group])
        )

    return tuple(map(share, batch))


if __name__ == "__main__":
    main()
