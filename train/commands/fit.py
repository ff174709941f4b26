"""Wiring: from a configuration to a run."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import keras
import tensorflow as tf
from jsonargparse import ArgumentParser, Namespace

import models
from tfsegloss import SegmentationLoss
from train.common.cli import make_parser
from train.common.errors import UserError
from train.config import FitConfig
from train.data.datasets.dataset import Dataset
from train.data.datasets.registry import find_dataset
from train.data.decoding.palette import IGNORED
from train.data.input.pipeline import training_stream
from train.data.input.sampling import ComplementaryWeights
from train.data.samples.decode import raise_first_fault
from train.data.samples.statistics import list_skipped
from train.loop.distribution import choose_strategy
from train.loop.evaluation import evaluate
from train.loop.inference import predict_classes, whole_image_logits
from train.loop.schedules import PolynomialWithWarmup
from train.loop.trainer import Trainer
from train.runs import folder
from train.runs.data import class_sampling, open_data
from train.runs.folder import CHECKPOINTS, METRICS, TENSORBOARD, MetricsFile


def fit_parser() -> ArgumentParser:
    """The parser of `python -m train fit` and of a run's config.yaml."""
    parser = make_parser(description="Train a model, or resume a run that was stopped.")
    parser.add_argument("--config", action="config", help="A recipe (YAML); options override it.")
    parser.add_class_arguments(FitConfig)
    parser.set_defaults({"loss": {"class_path": "tfsegloss.RMILoss"}})
    return parser


def instantiate(values: Namespace) -> FitConfig:
    """The configuration from parsed values.

    Raises:
        UserError: A class refuses its options.
    """
    try:
        instances = fit_parser().instantiate(values)
    except ValueError as error:
        raise UserError(str(error)) from None
    return FitConfig(**{name: instances[name] for name in FitConfig.__dataclass_fields__})


def load_config(run: Path) -> FitConfig:
    """The configuration of a run.

    Raises:
        UserError: The folder is none of a run.
    """
    path = run / folder.CONFIG
    if not path.is_file():
        raise UserError(f"{run} is no run: no file {path}")
    return instantiate(fit_parser().parse_path(path))


def build_model(config: FitConfig, dataset: Dataset) -> keras.Model:
    """The network of a run.

    Raises:
        UserError: `models.build` refuses an option.
    """
    model = config.model
    try:
        return models.build(
            model.name,
            backbone=model.backbone,
            num_classes=dataset.num_classes,
            output_stride=model.output_stride,
            weights=model.weights,
            batch_norm_momentum=model.batch_norm_momentum,
            freeze_batch_norm=model.freeze_batch_norm,
            **model.options,
        )
    except ValueError as error:
        raise UserError(f"model: {error}") from None
    except TypeError as error:
        if not model.options:
            raise
        raise UserError(f"model.options: {' '.join(str(error).split())}") from None
    except Exception as error:
        # What Keras raises where a download fails is no more special than this.
        if model.weights != "imagenet":
            raise
        raise UserError(f"model.weights: no ImageNet weights: {error}") from None


def build_optimizer(config: FitConfig) -> keras.optimizers.Optimizer:
    """SGD under the schedule of a run; biases and batch normalization do not decay."""
    options = config.optimizer
    try:
        schedule = PolynomialWithWarmup(
            options.learning_rate, config.trainer.steps, options.warmup_steps, options.power
        )
    except ValueError as error:
        raise UserError(f"optimizer: {error}") from None
    optimizer = keras.optimizers.SGD(
        schedule, momentum=options.momentum, weight_decay=options.weight_decay or None
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def load_trained(run: Path) -> tuple[FitConfig, Dataset, keras.Model]:
    """A run's configuration, dataset, and network with the weights of its last checkpoint.

    Raises:
        UserError: The folder is none of a run, or holds no checkpoint.
    """
    config = load_config(run)
    dataset = find_dataset(config.data.name, config.data.root)
    latest = tf.train.latest_checkpoint(str(run / CHECKPOINTS))
    if latest is None:
        raise UserError(f"{run} holds no checkpoint yet: no step was saved in {run / CHECKPOINTS}")
    # The checkpoint has all weights: what the network started from is not needed any more.
    config = replace(config, model=replace(config.model, weights=None))
    model = build_model(config, dataset)
    checkpoint = tf.train.Checkpoint(model=model)
    checkpoint.restore(latest).assert_existing_objects_matched().expect_partial()
    return config, dataset, model


def fit(values: Namespace) -> None:
    """Trains, from parsed values; what is wrong with them or with the data is said first."""
    config = instantiate(values)
    dataset = find_dataset(config.data.name, config.data.root)
    strategy = choose_strategy(config.trainer.replicas)
    _check_batch_size(config, strategy.num_replicas_in_sync)
    _check_loss(config.loss, dataset.num_classes)
    data = open_data(dataset, config.data, config.input.sampling)
    keras.utils.set_random_seed(config.trainer.seed)
    with strategy.scope():
        model, optimizer = build_model(config, dataset), build_optimizer(config)
        running = None
        if config.input.sampling.strategy == "complementary":
            running = ComplementaryWeights(dataset.num_classes)
        folder.create_or_verify(config.run, fit_parser().dump(values, skip_unset=False))
        folder.create_or_verify_samples(config.run, data.names)
        trainer = Trainer(
            strategy, model, config.loss, optimizer, config.run / CHECKPOINTS, running
        )
    _announce(trainer, config, data.faults, resuming=trainer.restore())

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])
    def classify(images: tf.Tensor) -> tf.Tensor:
        return predict_classes(whole_image_logits(model, images, config.input.resolution))

    def batches(first_step: int) -> Iterable:
        stream = training_stream(
            data.train,
            config.input,
            batch_size=config.trainer.batch_size,
            seed=config.trainer.seed,
            first_step=first_step,
            sampling=class_sampling(data, config.input.sampling, running),
        )
        return strategy.experimental_distribute_dataset(stream)

    callbacks = [
        keras.callbacks.TensorBoard(config.run / TENSORBOARD, write_graph=False),
        MetricsFile(config.run / METRICS, trainer.step),
    ]
    try:
        trainer.fit(
            batches, config.trainer, lambda: evaluate(classify, data.val, dataset), callbacks
        )
    except tf.errors.OpError:
        raise_first_fault(data.train)
        raise_first_fault(data.val)
        raise
    finally:
        list_skipped(data.faults)


def _check_batch_size(config: FitConfig, replicas: int) -> None:
    if config.trainer.batch_size % replicas:
        raise UserError(
            f"trainer.batch_size must be a multiple of the {replicas} replicas, "
            f"got {config.trainer.batch_size}"
        )


def _check_loss(loss: SegmentationLoss, num_classes: int) -> None:
    """Tries the loss on two pixels, one of them ignored."""
    if not loss.from_logits:
        raise UserError("loss.from_logits must be true: the networks give logits")
    try:
        # A copy: the trainer makes the variables of a loss, in the strategy's scope.
        trial = loss.from_config(loss.get_config())
        value = trial(tf.constant([[[0, IGNORED]]]), tf.zeros([1, 1, 2, num_classes]))
    except (ValueError, NotImplementedError, AttributeError) as error:
        raise UserError(f"loss: {error}") from None
    if value.shape.rank:
        raise UserError(f"loss.reduction must give one number; got {loss.reduction!r}")


def _announce(
    trainer: Trainer, config: FitConfig, faults: Sequence[str], *, resuming: bool
) -> None:
    devices = trainer.strategy.num_replicas_in_sync
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    print(f"Training {config.run} on {devices} {kind}{'s' if devices > 1 else ''}")
    if resuming:
        print(f"Resuming {config.run} at step {trainer.step} of {config.trainer.steps}")
    if faults:
        print(f"Skipping {len(faults)} samples that are wrong; they are listed at the end")
