"""A run: everything built from its configuration, then trained."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from tfsegloss import SegmentationLoss
from tfsegloss.core.checks import check_choice
from tfsegloss.losses.base import ACTIVATIONS
from train.common import signals
from train.common.errors import NotFiniteError, UserError
from train.config import FitConfig
from train.data.datasets.dataset import Dataset
from train.data.datasets.registry import find_dataset
from train.data.decoding.palette import IGNORED
from train.data.input.pipeline import step_samples, training_stream
from train.data.input.sampling import ComplementaryWeights
from train.data.samples.decode import may_be_of_a_file, raise_first_fault
from train.data.samples.statistics import list_skipped
from train.loop import checkpoints
from train.loop.cluster import (
    ALONE,
    Worker,
    lost_worker,
    only_first_prints,
    wait_for_all,
)
from train.loop.cluster_start import CLUSTER_TIMEOUT
from train.loop.distribution import choose_strategy, on_all_devices
from train.loop.evaluation import Classify, Scores, evaluate
from train.loop.fit import fit
from train.loop.inference import predict_classes, whole_image_logits
from train.loop.loss_scaling import LossScale
from train.loop.not_finite import BatchNames, explained
from train.loop.optimization import Group
from train.loop.trainer import Trainer
from train.runs import folder
from train.runs.build import Optimization, build_model, build_optimization
from train.runs.class_weights import (
    require_class_weights,
    with_class_weights,
    write_class_weights,
)
from train.runs.configuration import default_yaml
from train.runs.data import RunData, class_sampling, needs_statistics, open_data
from train.runs.folder import CHECKPOINTS, METRICS, TENSORBOARD, MetricsFile
from train.runs.initialize import initialize_from
from train.runs.reporting import ProgressReport, print_end, print_groups
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
        model = _first_model(config, dataset)
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
        wait_for_all(strategy, worker)


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


def begin(
    config: FitConfig, worker: Worker = ALONE, cluster_timeout: float = CLUSTER_TIMEOUT
) -> tuple[Dataset, tf.distribute.Strategy]:
    """Check what needs no data, and set the seed; return the dataset and the strategy.

    Args:
        config: The configuration.
        worker: Which of several processes this is.
        cluster_timeout: Seconds to wait until they are there.

    Raises:
        UserError: What is wrong with the configuration.
    """
    strategy = choose_strategy(config.trainer.replicas, worker, cluster_timeout)
    dataset = find_dataset(config.data.name, config.data.root, config.data.unlabelled_as_class)
    _check_batch_size(config, strategy.num_replicas_in_sync)
    if config.trainer.xla and strategy.num_replicas_in_sync > 1:
        remedy = "train in one process" if worker.count > 1 else "set trainer.replicas to 1"
        raise UserError(
            f"trainer.xla must be false on {strategy.num_replicas_in_sync} replicas: within a step "
            f"they wait for each other's sums, which XLA cannot compile; {remedy}"
        )
    _check_loss(config.loss, dataset.num_outputs)
    if config.class_weights:
        require_class_weights(config.loss)
    keras.utils.set_random_seed(config.trainer.seed)
    if config.trainer.deterministic:
        tf.config.experimental.enable_op_determinism()
    return dataset, strategy


def _fit(
    config: FitConfig, dataset: Dataset, data: RunData, trainer: Trainer, groups: list[Group]
) -> None:
    """Train from the last checkpoint to the end, and say what comes next."""
    resuming = trainer.restore()
    worker = trainer.worker
    metrics = MetricsFile(config.run / METRICS, trainer.step, writes=worker.is_first)
    is_over = partial(metrics.is_patience_over, config.trainer)
    if metrics.is_finished(config.trainer, trainer.step):
        print(f"{config.run} is finished: {trainer.step} steps were taken, and scored")
        print_end(config.run, metrics.lines)
        return
    if worker.is_first:
        write_summary(
            config.run,
            seed=config.trainer.seed,
            step=trainer.step,
            replicas=trainer.strategy.num_replicas_in_sync,
            samples={"train": len(data.train), "val": len(data.val)},
        )
    _announce(trainer, config, data, resuming=resuming)
    print_groups(groups, config)
    size = config.trainer.batch_size
    progress = ProgressReport(config.trainer.steps, trainer.step, len(data.val), size)
    batches = distributed_batches(config, data, trainer)
    events = EventFile(config.run / TENSORBOARD, writes=worker.is_first)
    multipliers = [group.multiplier for group in groups]
    curves = Curves(events, progress, lambda: trainer.learning_rate, multipliers)
    logits = _whole_images(trainer.model, config.input.resolution)
    evaluations = Evaluations(events, trainer, logits, dataset, len(data.val), batches)
    classify = on_all_devices(trainer.strategy, worker, _classifier(logits))
    batch_pixels = size * math.prod(config.input.crop) / config.input.resolution**2

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
            batch_pixels=round(batch_pixels / worker.count),
            worker=worker,
            total=trainer.total,
        )
        if not trainer.uses_averages:
            evaluations.on_scores(scores)
        return scores

    try:
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
    except NotFiniteError as error:
        if signals.is_caught():  # no time for a search
            raise
        names = _batch_names(config, data, trainer)
        raise explained(error, trainer, config.trainer, batches, names) from None
    except tf.errors.OpError as error:
        if may_be_of_a_file(error) and lost_worker(error, worker) is None:
            raise_first_fault(data.train, worker.seconds_to_explain)
        raise
    except KeyboardInterrupt:
        print(
            f"Stopped and saved at step {trainer.saved_step}: the same command goes on from there"
        )
        raise
    finally:
        trainer.forget_first_state()
        list_skipped(data.faults)
    if worker.is_first:
        write_seconds_per_step(config.run, progress.seconds_per_step)
    if trainer.step < config.trainer.steps:
        print(
            f"No better mean IoU in {config.trainer.patience} evaluations: trainer.patience ends it"
        )
    print_end(config.run, metrics.lines)


def _first_model(config: FitConfig, dataset: Dataset) -> keras.Model:
    """Build the network, with the weights of another run where this one begins with them."""
    model = build_model(config, dataset)
    if config.init_from is not None:
        if config.model.weights is not None:
            raise UserError(
                f"init_from and model.weights are both given ({config.init_from}, "
                f"{config.model.weights}): which weights are the first ones?"
            )
        if not checkpoints.steps(config.run / CHECKPOINTS):
            initialize_from(model, config, dataset)
    return model


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


def classifier(model: keras.Model, resolution: float) -> Classify:
    """Return what makes class ids of whole images, by a network of a run.

    Args:
        model: The network.
        resolution: Factor by which images are resized for it.
    """
    return _classifier(_whole_images(model, resolution))


def _whole_images(model: keras.Model, resolution: float) -> Callable[[tf.Tensor], tf.Tensor]:
    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])
    def logits(images: tf.Tensor) -> tf.Tensor:
        return whole_image_logits(model, images, resolution)

    return logits


def _classifier(logits: Callable[[tf.Tensor], tf.Tensor]) -> Classify:
    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])
    def classify(images: tf.Tensor) -> tf.Tensor:
        return predict_classes(logits(images))

    return classify


def distributed_batches(
    config: FitConfig, data: RunData, trainer: Trainer
) -> Callable[[int], Iterable]:
    """Return what gives the batches of a run from a step on, shared among the replicas."""
    strategy, worker, size = trainer.strategy, trainer.worker, config.trainer.batch_size

    def batches(first_step: int) -> Iterable:
        stream = training_stream(
            data.train,
            config.input,
            batch_size=size,
            seed=config.trainer.seed,
            first_step=first_step,
            sampling=class_sampling(data, config.input.sampling, trainer.sampling_weights),
            worker=worker.number,
            workers=worker.count,
        )
        if worker.count == 1:
            return strategy.experimental_distribute_dataset(stream)
        # Which would give each worker all of it, or whole batches in turn.
        parts = stream.rebatch(size // strategy.num_replicas_in_sync)
        return strategy.distribute_datasets_from_function(lambda context: parts)

    return batches


def _batch_names(config: FitConfig, data: RunData, trainer: Trainer) -> BatchNames:
    """Return what names the images of a batch, where its classes are drawn by today's weights."""

    def names(step: int) -> list[str]:
        samples = step_samples(
            data.train,
            step,
            batch_size=config.trainer.batch_size,
            seed=config.trainer.seed,
            sampling=class_sampling(data, config.input.sampling, trainer.sampling_weights),
        )
        return [data.train.image_name(index) for index in samples]

    return names


def _check_batch_size(config: FitConfig, replicas: int) -> None:
    """Refuse a batch that the replicas cannot share.

    Raises:
        UserError: It is such a batch.
    """
    size, parts = config.trainer.batch_size, config.trainer.accumulation
    if size % (replicas * parts):
        times = f" times the {parts} parts of trainer.accumulation" if parts > 1 else ""
        raise UserError(
            f"trainer.batch_size must be a multiple of the {replicas} replicas{times}, got {size}"
        )


def _check_loss(loss: SegmentationLoss, num_outputs: int) -> None:
    """Try the loss on two pixels, one of them ignored."""
    if not loss.from_logits:
        raise UserError("loss.from_logits must be true: the networks give logits")
    try:
        # A copy: the trainer makes the variables of a loss, in the strategy's scope.
        trial = loss.from_config(loss.get_config())
        check_choice("activation", trial.activation, ACTIVATIONS)  # what the export will need
        value = trial(tf.constant([[[1, IGNORED]]]), tf.zeros([1, 1, 2, num_outputs]))
    except (ValueError, NotImplementedError, AttributeError) as error:
        raise UserError(f"loss: {error}") from None
    if value.shape.rank:
        raise UserError(f"loss.reduction must give one number; got {loss.reduction!r}")


def _announce(trainer: Trainer, config: FitConfig, data: RunData, *, resuming: bool) -> None:
    devices, workers = trainer.strategy.num_replicas_in_sync, trainer.worker.count
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    of = f" of {workers} workers" if workers > 1 else ""
    print(f"Training {config.run} on {devices} {kind}{'s' if devices > 1 else ''}{of}")
    if resuming:
        print(f"Resuming {config.run} at step {trainer.step} of {config.trainer.steps}")
    if data.faults:
        print(f"Skipping {len(data.faults)} samples that are wrong; they are listed at the end")
    train, val = (set(names) for names in data.sample_names.values())
    if train & val:
        print(f"Of the {len(val)} images that are scored, {len(train & val)} are trained on")
    if data.turned:
        print(
            f"The EXIF orientation of {len(data.turned)} images is not applied, such as that of "
            f"{data.turned[0]}: `train check` names them"
        )
