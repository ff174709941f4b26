"""Three steps of a run without its data: does all that its recipe names fit together?"""

import math
import tempfile
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from train.common.errors import UserError
from train.config import FitConfig
from train.data.datasets.dataset import Dataset
from train.data.samples.samples import FileSamples
from train.data.samples.statistics import collect_statistics
from train.runs.batches import distributed_batches
from train.runs.begin import begin
from train.runs.build import build_model, build_optimization
from train.runs.class_weights import write_class_weights
from train.runs.data import RunData
from train.runs.reporting import print_groups
from train.runs.train import make_trainer

STEPS, IMAGES = 3, 4
SIZE = 97  # of the images, pixels
CROP = 65  # at most


def dry_run(config: FitConfig) -> None:
    """Take three steps with all that a run is made of, but on made-up images in small crops.

    The first weights are random, and so batch normalization goes by the statistics of each batch:
    those that it freezes are not trained yet. Nothing is kept.

    The images are of the dataset's classes, but gray PNGs in one folder: its own lists, folders and
    colors, and splits that are joined, are not met. `train check` reads those of real data.

    Args:
        config: The configuration. It takes one device unless that says how many: a machine may have
            more than the batch divides into.

    Raises:
        UserError: What is wrong with it, or a loss is not finite.
    """
    replicas = config.trainer.replicas or 1
    config = replace(config, trainer=replace(config.trainer, replicas=replicas))
    dataset, strategy = begin(config)
    with tempfile.TemporaryDirectory() as folder:
        freezes_all = config.model.freeze_batch_norm == "all"
        config = _without_files(config, Path(folder))
        with strategy.scope():
            model = build_model(config, dataset)
            if freezes_all:
                _freeze_scale_and_offset(model)
            optimization = build_optimization(config, model)
        samples = _made_up(dataset, Path(folder))
        statistics = collect_statistics(samples, dataset.num_classes)
        data = RunData(samples, samples, statistics, [])
        if config.class_weights:
            write_class_weights(config.run, config.class_weights, statistics)
        with strategy.scope():
            trainer = make_trainer(config, strategy, model, optimization, data)
        print_groups(optimization.groups, config)
        batches = iter(distributed_batches(config, data, trainer)(0))
        for step in range(1, STEPS + 1):
            losses = trainer.train_step(next(batches))
            values = ", ".join(f"{name} {float(value):.4f}" for name, value in losses.items())
            print(f"step {step}/{STEPS}: {values}", flush=True)
            if not math.isfinite(losses["loss"]):
                raise UserError(
                    f"the loss is not finite at step {step}: {values}: lower "
                    "optimizer.learning_rate, or look at the loss' options"
                )
    print("Nothing was kept.")


def _without_files(config: FitConfig, folder: Path) -> FitConfig:
    """Return the configuration in a folder of its own, and without what others have made."""
    crop = tuple(min(side, CROP) for side in config.input.crop)
    return replace(
        config,
        run=folder,
        init_from=None,
        input=replace(config.input, crop=crop),
        model=replace(config.model, weights=None, freeze_batch_norm=False),
    )


def _freeze_scale_and_offset(model: keras.Model) -> None:
    """Freeze these weights of batch normalization alone: a frozen layer goes by its statistics."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            _freeze_scale_and_offset(layer)
        elif isinstance(layer, keras.layers.BatchNormalization):
            for weight in layer.trainable_weights:
                weight.trainable = False


def _made_up(dataset: Dataset, folder: Path) -> FileSamples:
    """Write images of noise, and label maps that hold every id of the dataset, in blocks."""
    random = np.random.default_rng(0)
    ids = np.array([*dataset.encoding.gray], np.uint8)
    paths: tuple[list[Path], list[Path]] = ([], [])
    for number in range(IMAGES):
        image = random.integers(0, 256, [SIZE, SIZE, 3]).astype(np.uint8)
        blocks = np.resize(random.permutation(ids), [-(-SIZE // 8)] * 2)
        labels = blocks.repeat(8, 0).repeat(8, 1)[:SIZE, :SIZE, np.newaxis]
        for kind, pixels, found in zip(("image", "labels"), (image, labels), paths, strict=True):
            path = folder / f"{kind}{number}.png"
            path.write_bytes(tf.io.encode_png(pixels).numpy())
            found.append(path)
    return FileSamples(dataset.encoding, *map(tuple, paths))
