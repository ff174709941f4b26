"""A run: everything built from its configuration, then trained."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from train.common import signals
from train.common.errors import NotFiniteError, UserError
from train.config import FitConfig
from train.data.datasets.dataset import Dataset
from train.data.input.sampling import ComplementaryWeights
from train.data.samples.decode import may_be_of_a_file, raise_first_fault
from train.data.samples.statistics import list_skipped
from train.loop.cluster import ALONE, Worker, lost_worker, only_first_prints, wait_for_all
from train.loop.cluster_start import CLUSTER_TIMEOUT
from train.loop.distribution import Devices
from train.loop.evaluation import METRICS as SCORES
from train.loop.evaluation import Scores, evaluate
from train.loop.fit import fit
from train.loop.inference import classifier_of, whole_images
from train.loop.loss_scaling import LossScale
from train.loop.not_finite import explained
from train.loop.optimization import Group
from train.loop.trainer import Trainer
from train.runs import folder
from train.runs.batches import batch_names, distributed_batches
from train.runs.begin import begin, first_model
from train.runs.build import Optimization, build_optimization
from train.runs.class_weights import with_class_weights, write_class_weights
from train.runs.configuration import default_yaml
from train.runs.data import RunData, needs_statistics, open_data
from train.runs.folder import CHECKPOINTS, METRICS, TENSORBOARD, MetricsFile
from train.runs.reporting import ProgressReport, print_end, print_groups, print_start
from train.runs.summary import write_seconds_per_step, write_summary
from train.runs.watching import Curves, Evaluations, EventFile


def train(
    config: FitConfig,
    yaml: str,
    worker: Worker = ALONE,
    cluster_timeout: float = CLUSTER_TIMEOUT,
) -> None:
    """Train a run, or go on with one that was stopped.

    Args:
        config: The configuration.
        yaml: The same, as it goes into the run's folder.
        worker: Which of several processes this is, all of which train the run.
        cluster_timeout: Seconds to wait until they are there.

    Raises:
        UserError: What is wrong with the configuration or the data, before anything is written; or
            another worker is gone.
    """
    with only_first_prints(worker):
        try:
            _train(config, yaml, worker, cluster_timeout)
        except tf.errors.OpError as error:
            if lost := lost_worker(error, worker):
                raise lost from error
            raise


def _train(config: FitConfig, yaml: str, worker: Worker, cluster_timeout: float) -> None:
    dataset, strategy = begin(config, worker, cluster_timeout)
    with strategy.scope():
        # Before the data are read, or rendered, which takes minutes.
        model = first_model(config, dataset)
        optimization = build_optimization(config, model)
    data = _open_data(config, dataset, strategy, worker)
    with _own_folder(config, yaml, data) if worker.is_first else nullcontext():
        wait_for_all(strategy, worker)
        if not worker.is_first:
            _verify_folder(config, yaml, data, worker)
        wait_for_all(strategy, worker)
        with strategy.scope():
            trainer = make_trainer(config, strategy, model, optimization, data, worker)
        _fit(config, dataset, data, trainer, optimization.groups)
    signals.raise_caught()  # one that came when all was saved and scored


def _open_data(
    config: FitConfig, dataset: Dataset, strategy: tf.distribute.Strategy, worker: Worker
) -> RunData:
    """Return what the run reads; what must be made first, the first worker makes."""
    if not worker.is_first:
        wait_for_all(strategy, worker)
    data = open_data(dataset, config.data, needs_statistics(config))
    if worker.is_first:
        wait_for_all(strategy, worker)
    return data


@contextmanager
def _own_folder(config: FitConfig, yaml: str, data: RunData) -> Iterator[None]:
    """Keep the run's folder from other runs, and write into it what the run is.

    Raises:
        UserError: It is another run's, or a running one's.
    """
    folder.create_or_verify(config.run, yaml, default_yaml())
    with folder.locked(config.run):
        folder.create_or_verify_samples(config.run, data.sample_names)
        if config.class_weights:
            write_class_weights(config.run, config.class_weights, data.statistics)
        yield


def _verify_folder(config: FitConfig, yaml: str, data: RunData, worker: Worker) -> None:
    """Hold what a worker trains against what the first has written into the folder.

    Raises:
        UserError: It is another configuration, or other samples, or the folder is not shared.
    """
    if not (config.run / folder.CONFIG).is_file():
        raise UserError(
            f"{worker} finds no {folder.CONFIG} in {config.run}: run must be a folder that all "
            "workers share"
        )
    try:
        remedy = "start it with the first one's options"
        folder.require_same(config.run / folder.CONFIG, yaml, default_yaml(), remedy)
        folder.create_or_verify_samples(config.run, data.sample_names)
    except UserError as error:
        raise UserError(f"{worker} does not train what the first one does: {error}") from None


def _fit(
    config: FitConfig, dataset: Dataset, data: RunData, trainer: Trainer, groups: list[Group]
) -> None:
    """Train from the last checkpoint to the end, and say what comes next."""
    resuming = trainer.restore()
    worker = trainer.worker
    metrics = MetricsFile(
        config.run / METRICS,
        trainer.step,
        best_by=config.trainer.best_by,
        writes=worker.is_first,
    )
    is_over = partial(metrics.is_patience_over, config.trainer)
    if metrics.is_finished(config.trainer, trainer.step):
        print(f"{config.run} is finished: {trainer.step} steps were taken, and scored")
        print_end(config, metrics.lines)
        wait_for_all(trainer.strategy, worker)
        return
    if worker.is_first:
        write_summary(
            config.run,
            seed=config.trainer.seed,
            step=trainer.step,
            replicas=trainer.strategy.num_replicas_in_sync,
            samples={"train": len(data.train), "val": len(data.val)},
        )
    print_start(trainer, config, data, resuming=resuming)
    print_groups(groups, config)
    size = config.trainer.batch_size
    progress = ProgressReport(config.trainer.steps, trainer.step, len(data.val), size)
    batches = distributed_batches(config, data, trainer)
    events = EventFile(config.run / TENSORBOARD, writes=worker.is_first)
    multipliers = [group.multiplier for group in groups]
    curves = Curves(events, progress, lambda: trainer.learning_rate, multipliers)
    logits = whole_images(trainer.model, config.input.resolution)
    evaluations = Evaluations(events, trainer, logits, dataset, len(data.val), batches)
    classify = classifier_of(logits)
    # As many for each device as it trains on.
    replica_size = size / trainer.strategy.num_replicas_in_sync
    batch_pixels = replica_size * math.prod(config.input.crop) / config.input.resolution**2

    def observe(number: int, *pictures: np.ndarray) -> None:
        progress.on_image_scored(number)
        if not trainer.uses_averages:
            evaluations.on_image(number, *pictures)

    def score() -> Scores:
        scores = evaluate(
            classify,
            data.val,
            dataset,
            observe,
            batch_pixels=round(batch_pixels),
            devices=Devices(trainer.strategy, worker),
            worker=worker,
            total=trainer.total,
        )
        if not trainer.uses_averages:
            evaluations.on_scores(scores)
        return scores

    try:
        # A signal after the last evaluation waits until no worker needs another one.
        with signals.deferred():
            fit(
                trainer,
                batches,
                config.trainer,
                score,
                [curves, metrics, progress],
                evaluated=metrics.last_step,
                best=metrics.best_step,
                is_over=is_over,
            )
            if worker.is_first:
                write_seconds_per_step(config.run, progress.seconds_per_step)
            wait_for_all(trainer.strategy, worker)
    except NotFiniteError as error:
        if signals.is_caught():  # no time for a search
            raise
        names = batch_names(config, data, trainer)
        raise explained(error, trainer, config.trainer, batches, names) from None
    except tf.errors.OpError as error:
        if may_be_of_a_file(error) and lost_worker(error, worker) is None:
            raise_first_fault(data.train, worker.seconds_to_explain)
        raise
    except KeyboardInterrupt:
        if not metrics.is_finished(config.trainer, trainer.step):
            print(
                f"Stopped and saved at step {trainer.saved_step}: the same command goes on from "
                "there"
            )
        raise
    finally:
        trainer.forget_first_state()
        list_skipped(data.faults)
    if trainer.step < config.trainer.steps:
        print(
            f"No better {SCORES[config.trainer.best_by].label} in {config.trainer.patience} "
            "evaluations: trainer.patience ends it"
        )
    print_end(config, metrics.lines)


def make_trainer(
    config: FitConfig,
    strategy: tf.distribute.Strategy,
    model: keras.Model,
    optimization: Optimization,
    data: RunData,
    worker: Worker = ALONE,
) -> Trainer:
    """Make the trainer of a run, in its strategy's scope."""
    options = config.trainer
    sampling_weights = None
    if config.input.sampling.strategy == "complementary":
        sampling_weights = ComplementaryWeights(data.num_classes)
    return Trainer(
        strategy=strategy,
        model=model,
        loss=with_class_weights(config.loss, config.run, max(model.output_shape[-1], 2)),
        optimizer=optimization.optimizer,
        folder=config.run / CHECKPOINTS,
        schedule=optimization.schedule,
        rules=optimization.rules,
        accumulation=options.accumulation,
        sampling_weights=sampling_weights,
        refresh_every=config.input.sampling.refresh_every,
        ema_momentum=options.ema_momentum,
        loss_scale=LossScale(strategy) if options.precision == "float16" else None,
        xla=options.xla,
        worker=worker,
    )
