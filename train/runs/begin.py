"""The beginning of a run: its strategy, its first weights, and what needs no data to be refused."""

import keras
import tensorflow as tf

from tfsegloss import SegmentationLoss
from tfsegloss.core.checks import check_choice
from tfsegloss.losses.base import ACTIVATIONS
from train.common.errors import UserError
from train.config import FitConfig
from train.data.datasets.dataset import Dataset
from train.data.datasets.registry import find_dataset
from train.data.decoding.palette import IGNORED
from train.loop import checkpoints
from train.loop.cluster import ALONE, Worker
from train.loop.cluster_start import CLUSTER_TIMEOUT
from train.loop.distribution import choose_strategy
from train.runs.build import build_model
from train.runs.class_weights import require_class_weights
from train.runs.folder import CHECKPOINTS
from train.runs.initialize import initialize_from, print_what_is_new


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
    for split in (config.data.train_split, config.data.val_split):
        dataset.require_split(split)
    _check_first_weights(config)
    _check_batch_size(config, strategy.num_replicas_in_sync, worker)
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


def first_model(config: FitConfig, dataset: Dataset) -> keras.Model:
    """Build the network, with the weights of another run where this one begins with them."""
    model = build_model(config, dataset)
    if not checkpoints.steps(config.run / CHECKPOINTS):
        if config.init_from is not None:
            initialize_from(model, config, dataset)
        elif config.model.weights not in (None, "imagenet"):
            print_what_is_new(model, config)
    return model


def _check_first_weights(config: FitConfig) -> None:
    if config.init_from is not None and config.model.weights is not None:
        raise UserError(
            f"init_from and model.weights are both given ({config.init_from}, "
            f"{config.model.weights}): which weights are the first ones?"
        )


def _check_batch_size(config: FitConfig, replicas: int, worker: Worker) -> None:
    """Refuse a batch that the replicas cannot share.

    Raises:
        UserError: It is such a batch.
    """
    size, parts = config.trainer.batch_size, config.trainer.accumulation
    unit = replicas * parts
    if not size % unit:
        return
    times = f" times the {parts} parts of trainer.accumulation" if parts > 1 else ""
    # The workers of a cluster take all their devices.
    fewer = range(replicas - 1, 0, -1) if worker.count == 1 else ()
    fitting = [f"--trainer.replicas {count}" for count in fewer if not size % (count * parts)]
    remedy = [*fitting, f"--trainer.batch_size {-(-size // unit) * unit}"][0]
    raise UserError(
        f"trainer.batch_size must be a multiple of the {replicas} replicas{times}, got {size}; "
        f"choose {remedy}"
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
