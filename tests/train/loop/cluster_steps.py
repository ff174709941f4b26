"""Steps of a small network, by every loss or of every kind, by one process or one of several."""

import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import tfsegloss
from tests.tfsegloss.variants import OPTIONS
from tests.train.loop.small_trainer import CLASSES, batches, make_trainer, two_convolutions
from tfsegloss.kernels import xla
from train.data.input.sampling import ComplementaryWeights
from train.loop.cluster import ALONE, find_worker
from train.loop.cluster_start import cluster_strategy
from train.loop.loss_scaling import LossScale

LONG = ("SoftmaxCrossEntropy", "RMILoss", "SSLLoss", "LMPLoss")
STEPS = 10
# What a trainer is asked for beside the loss.
KINDS = {
    "averages": lambda strategy: {"ema_momentum": 0.3},
    "float16": lambda strategy: {"loss_scale": LossScale(strategy, 2.0**22)},
    "accumulation": lambda strategy: {"accumulation": 2},
    "sampling": lambda strategy: {"sampling_weights": ComplementaryWeights(CLASSES)},
}


def main():
    """Write the numbers after the steps, as the worker NUMBER of ADDRESSES, if it is the first."""
    what, addresses, number, path = sys.argv[1:]
    worker = find_worker(addresses, int(number))
    strategy = cluster_strategy(worker, timeout=120)
    xla.is_worth_compiling = lambda arguments: False  # which takes minutes for all losses
    if what == "losses":
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
        numbers = weights_after_steps(strategy, Path(path).parent, worker)
    else:
        numbers = {
            f"{kind} {name}": value
            for kind in KINDS
            for name, value in numbers_of_kind(kind, strategy, Path(path).parent, worker).items()
        }
    if worker.is_first:
        np.savez(path, **numbers)


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


def numbers_of_kind(kind, strategy, folder, worker=ALONE):
    """Return what a step of a kind changes, after some of them."""
    with strategy.scope():
        options = KINDS[kind](strategy)
    keras.config.set_dtype_policy("mixed_float16" if kind == "float16" else "float32")
    try:
        options |= {"loss": tfsegloss.SoftmaxCrossEntropy(), "worker": worker}
        trainer = make_trainer(strategy, _synchronized, folder / kind, **options)
    finally:
        keras.config.set_dtype_policy("float32")
    for batch in batches(8):
        trainer.train_step(_shared(strategy, batch))
    numbers = {f"weight {n}": weight.numpy() for n, weight in enumerate(trainer.model.weights)}
    if trainer.averages:
        numbers |= {f"average {n}": v.numpy() for n, v in enumerate(trainer.averages.variables)}
    if trainer.loss_scale:
        numbers |= trainer.loss_scale.logs()
    if trainer.sampling_weights:
        trainer.sampling_weights.refresh()
        numbers["sampling"] = np.asarray(trainer.sampling_weights.weights)
    return numbers


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
