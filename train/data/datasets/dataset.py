"""What a dataset is: one frozen description, and the files of its splits."""

import itertools
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from train.common.errors import UserError
from train.data.decoding.labels import LabelEncoding
from train.data.decoding.palette import IGNORED, Color
from train.data.samples import records
from train.data.samples.samples import FileSamples, Samples

UNION = "+"  # between the names of splits that are one
# The class that pixels without a label become where that is asked for.
UNLABELLED = "unlabelled"


@dataclass(frozen=True)
class Dataset:
    """A dataset.

    Args:
        name: Its name on the command line.
        class_names: Names of the classes 0, 1, ….
        colors: RGB of each class, in label maps with colors and in pictures.
        splits: Names of the splits, and how many samples each has; None where that is open.
        source: Where it comes from, for error messages and reports.
        license: What one may do with it.
        list_split: Files of a split below the dataset's folder.
        is_binary: Whether the second of its two classes is a foreground, for which the network has
            one output.
        ids: Ids in the files and the class of each; None: the classes 0, 1, … themselves.
        ignored_ids: Ids in the files that mean "no label", beside 255.
        ignored_colors: RGB in the files that mean "no label".
        other_colors: Further RGB in the files, and the class of each.
        server_ids: Id of each class in predictions that the dataset's server scores; None: the
            classes 0, 1, … themselves, or there is no server.
        labels_remedy: What to do about ids and colors that mean nothing, for error messages.
        make: Writes the dataset into a folder that does not exist; None where it cannot be made.
    """

    name: str
    class_names: tuple[str, ...]
    colors: tuple[Color, ...]
    splits: Mapping[str, int | None]
    source: str
    license: str
    list_split: Callable[[LabelEncoding, Path, str], FileSamples]
    is_binary: bool = False
    ids: Mapping[int, int] | None = None
    ignored_ids: tuple[int, ...] = ()
    ignored_colors: tuple[Color, ...] = ()
    other_colors: Mapping[Color, int] = field(default_factory=dict)
    server_ids: tuple[int, ...] | None = None
    labels_remedy: str = ""
    make: Callable[[Path], None] | None = None

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def num_outputs(self) -> int:
        """Channels of a network for it."""
        return 1 if self.is_binary else self.num_classes

    @property
    def encoding(self) -> LabelEncoding:
        """What the pixels of its label maps mean."""
        ignored = dict.fromkeys(self.ignored_colors, IGNORED)
        own = {color: i for i, color in enumerate(self.colors)}
        ids = {i: i for i in range(self.num_classes)} if self.ids is None else self.ids
        return LabelEncoding(
            self.name,
            {**dict.fromkeys([*self.ignored_ids, IGNORED], IGNORED), **ids},
            {**ignored, **self.other_colors, **own},
            self.labels_remedy,
        )

    def with_unlabelled_class(self) -> "Dataset":
        """Return the dataset with one class more: what its files say has no label.

        255 stays without one: nothing tells it from what is beyond an image.

        Raises:
            UserError: Its files say so by 255 alone.
        """
        unlabelled = [i for i in self.ignored_ids if i != IGNORED]
        if not unlabelled:
            raise UserError(
                f"data.unlabelled_as_class: {self.name} has no id of its own for pixels without a "
                "label, but 255, which is not trained on"
            )
        ids = {i: i for i in range(self.num_classes)} if self.ids is None else self.ids
        grays = ((level, level, level) for level in range(256))
        free = (color for color in grays if color not in (*self.colors, *self.other_colors))
        new = self.num_classes
        return replace(
            self,
            class_names=(*self.class_names, UNLABELLED),
            colors=(*self.colors, next(iter((*self.ignored_colors, *free)))),
            is_binary=False,
            ids={**ids, **dict.fromkeys(unlabelled, new)},
            ignored_ids=(),
            ignored_colors=(),
            other_colors={**self.other_colors, **dict.fromkeys(self.ignored_colors, new)},
        )

    def expected(self, split: str) -> int | None:
        """Return how many samples a split, or a union, has; None where that is open."""
        counts = [self.splits[part] for part in split.split(UNION)]
        return None if None in counts else sum(counts)

    def require_split(self, split: str) -> None:
        """Refuse a split, or a union of splits, that the dataset does not have.

        Raises:
            UserError: It has none of that name, or the union names one twice.
        """
        parts = split.split(UNION)
        for number, part in enumerate(parts):
            if part not in self.splits:
                known = ", ".join(self.splits)
                raise UserError(f"{self.name} has the splits {known}, not {part!r}")
            if part in parts[:number]:
                raise UserError(f"{split!r} names the split {part!r} twice")

    def samples(self, split: str, root: Path | None = None) -> Samples:
        """Return a split's samples: records where `train prepare` has written them, else files.

        Args:
            split: Name of the split, or of several, as in "train+val".
            root: The dataset's folder, or the records'. None: `data/NAME`, and there a dataset that
                can be made is made first (a folder that was asked for and is missing may be
                misspelt).

        Raises:
            UserError: The folder, the split's list or a file is missing, or the split is empty.
        """
        self.require_split(split)
        folder = default_root(self.name) if root is None else root
        if root is None and self.make is not None and not folder.exists():
            self._make(folder)
        if not folder.is_dir():
            raise UserError(f"data.root: no folder {folder}; {self.name}: {self.source}")
        first, *others = splits = [self._split(part, folder) for part in split.split(UNION)]
        _require_no_overlap(split, [each.identities for each in splits])
        return first.joined(others) if others else first

    def _split(self, split: str, folder: Path) -> Samples:
        samples = records.find(folder, split, self.name, self.class_names)
        if samples is None and any(folder.glob("*-of-*.tfrecord")):
            raise UserError(f"{folder} holds no records of {split}: run `train prepare` again")
        if samples is None:
            samples = self.list_split(self.encoding, folder, split)
            _require_readable_names(samples)
        if not len(samples):
            raise UserError(f"{folder}: the split {split!r} of {self.name} is empty")
        return samples

    def _make(self, folder: Path) -> None:
        print(f"Writing the {self.name} to {folder}")
        try:
            self.make(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process has made it
                raise


def _require_no_overlap(union: str, splits: Sequence[Sequence[Hashable]]) -> None:
    """Refuse splits that share images, which would count twice."""
    for one, other in itertools.combinations(map(set, splits), 2):
        if one & other:
            raise UserError(f"{union!r}: its splits share {len(one & other)} images")


def _require_readable_names(samples: FileSamples) -> None:
    """Refuse names that are no Unicode, which TensorFlow and the indices of records do not know.

    Nor may they hold line breaks or what moves the cursor of a terminal: they are printed.
    """
    for path in (*samples.images, *samples.labels):
        name = os.fsencode(path)
        if name.decode(errors="replace") != str(path):
            raise UserError(f"{name!r}: expected a file name in UTF-8")
        if not str(path).isprintable():
            raise UserError(f"{str(path)!r}: expected a file name without control characters")


def default_root(name: str) -> Path:
    """Return where a dataset is looked for."""
    return Path("data") / name


def read_list(path: Path) -> list[tuple[str, str]]:
    """Return (place, line) of each line of a list that is not empty.

    Raises:
        UserError: There is no such list, or it is not in UTF-8.
    """
    if not path.is_file():
        raise UserError(f"no list {path}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: expected a list in UTF-8") from None
    lines = enumerate(text.splitlines(), start=1)
    return [(f"{path} line {number}", line.strip()) for number, line in lines if line.strip()]


def stem(line: str, place: str) -> str:
    """Return a line of a list if it is the name of a file without suffix, and no path.

    Args:
        line: The line.
        place: Where it stands, for the error message.

    Raises:
        UserError: It leads elsewhere, where files would be read or written.
    """
    if line != PurePath(line).name or line == "..":
        raise UserError(f"{place}: expected a name without folder, got {line!r}")
    return line


def existing(path: Path, place: str) -> Path:
    """Return the path of a file that must be there.

    Args:
        path: The path.
        place: Who names it, such as a line of a list, for the error message.

    Raises:
        UserError: There is no such file.
    """
    if not path.is_file():
        raise UserError(f"{place}: no file {path}")
    return path
