"""What a run reads: its splits, checked, and how its crops are drawn."""

from dataclasses import dataclass, field

import numpy as np

from train.common.errors import SeveralFaultsError, UserError
from train.config import DataConfig, FitConfig, SamplingConfig
from train.data.datasets.dataset import Dataset
from train.data.datasets.problems import absent_classes, turned_names
from train.data.input.sampling import ClassSampling, ComplementaryWeights
from train.data.samples.records import RecordSamples
from train.data.samples.samples import FileSamples, Samples
from train.data.samples.statistics import SplitStatistics, collect_statistics, validate_samples


@dataclass(frozen=True)
class RunData:
    """What a run reads.

    Args:
        train, val: The samples.
        statistics: What those of training hold; None where nobody needs to know.
        faults: What is wrong with the samples that were left out.
        turned: Names of the image files that other programs show turned, where files are checked.
    """

    train: Samples
    val: Samples
    statistics: SplitStatistics | None
    faults: list[str]
    turned: list[str] = field(default_factory=list)

    @property
    def num_classes(self) -> int:
        """Number of classes, where the statistics are known."""
        return self.statistics.pixels.shape[1]

    @property
    def sample_names(self) -> dict[str, list[str]]:
        """What the samples are called, by "train" and "val"."""
        return {"train": names_of(self.train), "val": names_of(self.val)}


def names_of(samples: Samples) -> list[str]:
    """Return what the samples of a split are called."""
    return [samples.image_name(index) for index in range(len(samples))]


def needs_statistics(config: FitConfig) -> bool:
    """Return whether a run must know which classes its samples hold."""
    return config.input.sampling.strategy != "uniform" or config.class_weights is not None


def open_data(dataset: Dataset, options: DataConfig, needs_statistics: bool) -> RunData:
    """Return the samples of a run, checked if it says so.

    Args:
        dataset: The dataset.
        options: Where it is, which splits, whether and how it is checked.
        needs_statistics: Whether it must be known what the samples hold, checked or not.

    Raises:
        UserError: Something is wrong with a split or a sample.
    """
    train, statistics, faults = _open_split(dataset, options, options.train_split)
    val, _, more = _open_split(dataset, options, options.val_split)
    faults, turned = [*faults, *more], []
    if options.verify:
        files = [samples for samples in (train, val) if isinstance(samples, FileSamples)]
        turned = [name for samples in files for name in turned_names(samples, range(len(samples)))]
    else:
        statistics = _statistics(train, dataset.num_classes, needs_statistics)
    if statistics is not None and not options.allow_absent_classes:
        _require_classes(statistics, dataset, options.train_split)
    return RunData(train, val, statistics, faults, turned)


def validation_samples(dataset: Dataset, options: DataConfig) -> Samples:
    """Return the samples that a run is scored on, as `split_samples` does."""
    return split_samples(dataset, options, options.val_split)


def split_samples(dataset: Dataset, options: DataConfig, split: str) -> Samples:
    """Return the samples of a split that a run reads, without looking for what is wrong.

    Args:
        dataset: The dataset.
        options: Where it is, whether wrong samples are left out.
        split: Its name.

    Raises:
        UserError: Something is wrong with the split.
    """
    if options.on_error == "skip":
        return _open_split(dataset, options, split)[0]
    return dataset.samples(split, options.root)


def _open_split(
    dataset: Dataset, options: DataConfig, split: str
) -> tuple[Samples, SplitStatistics | None, list[str]]:
    """Return the samples of a split, checked if the options say so, with what was found."""
    samples = dataset.samples(split, options.root)
    if not options.verify:
        return samples, None, []
    return validate_samples(samples, dataset.num_classes, skip=options.on_error == "skip")


def _statistics(samples: Samples, num_classes: int, needed: bool) -> SplitStatistics | None:
    """Return what the samples hold, which of records is on record."""
    if isinstance(samples, RecordSamples):
        return samples.statistics
    return collect_statistics(samples, num_classes) if needed else None


def _require_classes(statistics: SplitStatistics, dataset: Dataset, split: str) -> None:
    """Refuse a class that nothing could be learnt of; the mean IoU would leave it out."""
    absent = [*absent_classes(statistics, dataset, split)]
    if absent:
        raise SeveralFaultsError(
            absent, "; to train all the same: --data.allow_absent_classes true"
        )


def class_sampling(
    data: RunData, options: SamplingConfig, sampling_weights: ComplementaryWeights | None
) -> ClassSampling | None:
    """Return how crops are drawn by class from now on; None: uniformly.

    Args:
        data: What the run reads.
        options: How its crops are drawn.
        sampling_weights: Those of complementary sampling; None: of all classes the same.

    Raises:
        UserError: There is no class to draw.
    """
    if options.strategy == "uniform":
        return None
    if not data.statistics.pixels.any():
        raise UserError("input.sampling is by class, but no pixel of the training data has one")
    equal = sampling_weights is None
    weights = np.ones(data.num_classes) if equal else sampling_weights.weights.numpy()
    return ClassSampling.of(data.statistics.pixels, weights, options.uniform_share)
