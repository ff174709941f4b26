"""The file that a finished run leaves: its scores by image and class, its seed and settings."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from train.common.errors import UserError
from train.common.files import write_whole
from train.compare.counts import COUNTS

RESULTS = Path("train/results")
SEED = re.compile(r"[-_]seed_?(\d+)$")


@dataclass(frozen=True)
class RunResults:
    """What a finished run scored.

    Args:
        name: Of what it was a run: a recipe, or a run whose folder had this name.
        seed: Its seed.
        step: At which it was scored, its last.
        seconds_per_step: Of its training, on the machine where it was; None: not known.
        settings: Its configuration, by dotted keys.
        origin: When its training began, with what revisions and versions of the code; `{}`: not
            known.
        training_images: What it was trained on: their "count", and "sha256" of their names.
        class_names: Names of the classes.
        counts: Of pixels, int64 `[5, C]` in the order of COUNTS, by the image's name without
            suffix.
    """

    name: str
    seed: int
    step: int
    seconds_per_step: float | None
    settings: Mapping[str, Any]
    origin: Mapping[str, Any]
    training_images: Mapping[str, Any]
    class_names: tuple[str, ...]
    counts: Mapping[str, np.ndarray]

    @property
    def images(self) -> tuple[str, ...]:
        """Names of the images."""
        return tuple(self.counts)

    def truth(self) -> dict[str, list[int]]:
        """Return how many pixels each image has of each class, by its labels."""
        return {name: rows[COUNTS.index("truth")].tolist() for name, rows in self.counts.items()}


def results_path(folder: Path, name: str, seed: int) -> Path:
    """Return where the results of a run are kept."""
    return folder / f"{name}-seed{seed}.json"


def without_seed(name: str) -> str:
    """Return what a run is called whatever its seed: its folder's name without `-seed0`."""
    return SEED.sub("", name)


def write_results(path: Path, results: RunResults) -> None:
    """Write the file, a line for each image, for version control to compare."""
    fields = {**asdict(results), "counts": list(COUNTS)}
    lines = [
        f"  {json.dumps(name)}: {json.dumps(counts.tolist(), separators=(',', ':'))}"
        for name, counts in results.counts.items()
    ]
    head = json.dumps(fields, indent=1).removesuffix("\n}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, head + ',\n "images": {\n' + ",\n".join(lines) + "\n }\n}\n")


def read_results(path: Path) -> RunResults:
    """Read the file.

    Raises:
        UserError: It is not one of these, or cannot be read.
    """
    try:
        fields = json.loads(path.read_text())
        if fields.pop("counts") != list(COUNTS):
            raise ValueError
        images = {name: np.asarray(rows, np.int64) for name, rows in fields.pop("images").items()}
        fields["class_names"] = tuple(fields["class_names"])
        results = RunResults(**fields, counts=images)
        shape = (len(COUNTS), len(results.class_names))
        if not images or any(rows.shape != shape for rows in images.values()):
            raise ValueError
        if path.name != results_path(path.parent, Path(results.name).name, results.seed).name:
            raise ValueError
    except OSError as error:
        raise UserError(f"{path}, a run's results, cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UserError(
            f"{path} is damaged, or no file of results: restore it, or remove it, and its run is "
            "scored again"
        ) from None
    return results
