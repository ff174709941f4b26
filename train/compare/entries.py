"""What stands in a row of a comparison: the runs of one recipe, seed by seed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from train.common.errors import UserError
from train.compare.counts import boundary_iou, iou, mean
from train.compare.intervals import Interval, paired_interval
from train.compare.results import RunResults, without_seed
from train.runs.configuration import default_yaml
from train.runs.folder import differences, different, training_settings


@dataclass(frozen=True)
class Entry:
    """The runs of one recipe.

    Args:
        name: The recipe.
        runs: Its runs by seed.
    """

    name: str
    runs: dict[int, RunResults]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes."""
        return next(iter(self.runs.values())).class_names

    @property
    def steps(self) -> str:
        """Steps of its trainings, which patience may end at different ones."""
        steps = {run.step for run in self.runs.values()}
        return f"{min(steps)} to {max(steps)}" if len(steps) > 1 else str(*steps)

    @property
    def images(self) -> tuple[str, ...]:
        """Names of the images."""
        return next(iter(self.runs.values())).images

    @property
    def settings(self) -> Mapping[str, object]:
        """Settings of its trainings."""
        return next(iter(self.runs.values())).settings

    def other_settings(self, first: "Entry") -> str:
        """Say which settings beside the loss are not those of another; nothing where none is."""
        ours, theirs = (
            {key: value for key, value in entry.settings.items() if not key.startswith("loss")}
            for entry in (self, first)
        )
        changed = different(theirs, ours, training_settings(default_yaml())).items()
        return ", ".join(f"{key} {own} instead of {other}" for key, (other, own) in changed)

    def counts(self) -> np.ndarray:
        """Return the counts `[seeds, images, 5, C]`, in the order of the seeds and images."""
        return np.stack(
            [
                np.stack([self.runs[seed].counts[image] for image in sorted(self.images)])
                for seed in sorted(self.runs)
            ]
        )

    def totals(self) -> np.ndarray:
        """Return the counts over all images, `[seeds, 5, C]`."""
        return self.counts().sum(axis=1)

    def mean_iou(self) -> np.ndarray:
        """Return the mean IoU of each seed, `[seeds]`."""
        return mean(iou(self.totals()))

    def mean_boundary_iou(self) -> np.ndarray:
        """Return the mean boundary IoU of each seed, `[seeds]`."""
        return mean(boundary_iou(self.totals()))

    def class_iou(self) -> np.ndarray:
        """Return the IoU of each class, averaged over the seeds, `[C]`."""
        return iou(self.totals()).mean(axis=0)

    def seconds_per_step(self) -> float | None:
        """Return the median of the seconds of a step; None where they are not known."""
        known = [run.seconds_per_step for run in self.runs.values() if run.seconds_per_step]
        return float(np.median(known)) if known else None

    def better_than(self, first: "Entry") -> Interval:
        """Return by how much the mean IoU is higher than that of another."""
        return paired_interval(first.counts(), self.counts())


def entries_of(results: Iterable[RunResults]) -> list[Entry]:
    """Put the runs of each recipe together, in the order in which they come.

    Raises:
        UserError: They are not of the same classes, images, labels and seeds, which a comparison
            pairs; or the runs of one name have different settings.
    """
    by_name: dict[str, dict[int, RunResults]] = {}
    for run in results:
        by_name.setdefault(run.name, {})[run.seed] = run
    entries = [Entry(name, runs) for name, runs in by_name.items()]
    first = entries[0]
    for entry in entries:
        one, *others = entry.runs.values()
        for other in others:
            _require_one_training(one, other)
        require_comparable([*first.runs.values(), *entry.runs.values()])
        if set(entry.runs) != set(first.runs):
            raise UserError(
                f"{entry.name} has the seeds {_listed(entry.runs)}, {first.name} has "
                f"{_listed(first.runs)}: a comparison pairs them; --seeds trains those missing"
            )
    return entries


def require_comparable(runs: Sequence[RunResults]) -> None:
    """Hold all that runs were trained and scored on against that of the first.

    Raises:
        UserError: A run was scored on other classes, images or labels, or trained on other images.
    """
    for run in runs[1:]:
        first = runs[0]
        _require_same("scored on other classes", first, run, first.class_names, run.class_names)
        _require_same("scored on other images", first, run, set(first.images), set(run.images))
        _require_same("scored on other labels", first, run, first.truth(), run.truth())
        trained = first.training_images, run.training_images
        _require_same("trained on other images", first, run, *trained)


def _require_one_training(one: RunResults, other: RunResults) -> None:
    changes = differences(
        _of_any_seed(one.settings), _of_any_seed(other.settings), training_settings(default_yaml())
    )
    if changes:
        raise UserError(
            f"{other.name}, seed {other.seed}, has other settings than seed {one.seed}: {changes}; "
            "seeds are compared of one training: give its folder another name"
        )


def _of_any_seed(settings: Mapping[str, object]) -> dict[str, object]:
    """Return settings in which each seed's second stage goes on from the first stage of its own."""
    key = "init_from"
    return {**settings, key: without_seed(settings[key])} if settings.get(key) else {**settings}


def _require_same(
    what: str, first: RunResults, run: RunResults, theirs: object, ours: object
) -> None:
    if ours != theirs:
        raise UserError(
            f"{run.name}, seed {run.seed}, was {what} than {first.name}, seed {first.seed}: what "
            "is compared must be of the same"
        )


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))
