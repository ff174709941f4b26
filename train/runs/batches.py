"""The batches that a run trains on, and the names of the images in them."""

from collections.abc import Callable, Iterable

from train.config import FitConfig
from train.data.input.pipeline import step_samples, training_stream
from train.loop.not_finite import BatchNames
from train.loop.trainer import Trainer
from train.runs.data import RunData, class_sampling


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


def batch_names(config: FitConfig, data: RunData, trainer: Trainer) -> BatchNames:
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
