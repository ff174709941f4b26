"""The files of own data: which label map belongs to which image, and which split they are of.

`images/` holds JPEGs and PNGs, `labels/` PNGs of the same names, or with "_mask" and the like
behind them, both in folders or not. The splits are the lists `train.txt`, `val.txt`, `test.txt`
where there is one: a name a line, below `images/`. Else they are the folders of these names in
both. Where there is neither, a fifth of the images is of "val": those with the lowest checksums of
their names, so that nearly all stay where they are when others come.
"""

import glob
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path, PurePath
from typing import NamedTuple

from train.common.errors import SeveralFaultsError, UserError
from train.data.datasets.dataset import read_list
from train.data.decoding.images import IMAGE_KINDS, IMAGE_SUFFIXES
from train.data.decoding.labels import PNG_ALONE, LabelEncoding
from train.data.samples.samples import FileSamples

# What people call the lists and folders of a split, in any case.
SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
SPLIT_OF = {name: split for split, names in SPLITS.items() for name in names}
# What tools put behind the name of an image to name its label map.
LABELS_ENDING = re.compile(
    r"(\.jpe?g|\.png)?([-_. ]?(masks?|labels?|gt|seg|segmentation|annotations?))?$", re.IGNORECASE
)


class Kind(NamedTuple):
    """One of the two folders of own data, and what its files may be."""

    folder: str
    suffixes: tuple[str, ...]
    rule: str


IMAGES = Kind("images", IMAGE_SUFFIXES, IMAGE_KINDS)
LABELS = Kind("labels", (".png",), PNG_ALONE)


def list_folder(encoding: LabelEncoding, root: Path, split: str) -> FileSamples:
    """List the files of a split of own data.

    Args:
        encoding: What the label maps mean.
        root: The folder.
        split: "train", "val" or "test".

    Returns:
        The files, in the list's order or that of their names.

    Raises:
        UserError: A file is missing, or an image or label map has no partner.
    """
    images, labels = _scan(root, IMAGES), _scan(root, LABELS)
    lists, folders = _lists(root), _folders(root)
    if folders and not lists:
        images, labels = _by_split(images), _by_split(labels)
    labels = _by_name_of_image(images, labels)
    if lists:
        _require_split(root, split, lists)
        names = _listed_names(root, lists[split], images, labels)
    elif folders:
        _require_split(root, split, folders)
        _require_no_more_folders(root, images, folders)
        names = [n for n in sorted(images.keys() | labels.keys()) if n.startswith(f"{split}/")]
        _require_partners(root, names, images, labels)
    else:
        names = _fifth(root, sorted(images.keys() | labels.keys()), split)
        _require_partners(root, names, images, labels)
    return FileSamples(encoding, tuple(images[n] for n in names), tuple(labels[n] for n in names))


def has_test(root: Path) -> bool:
    """Return whether own data have a split "test"."""
    return "test" in (_lists(root) or _folders(root)) or any(root.glob("test-*-of-*.tfrecord"))


def _lists(root: Path) -> dict[str, Path]:
    """Return the list of each split."""
    return _splits(path for path in _entries(root) if path.suffix == ".txt" and path.is_file())


def _folders(root: Path) -> dict[str, Path]:
    """Return the folder of each split."""
    return _splits(path for path in _entries(root / IMAGES.folder) if path.is_dir())


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _splits(paths: Iterator[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        split = SPLIT_OF.get(path.name.removesuffix(".txt").lower())
        if split in found:
            raise UserError(f"{found[split]} and {path} are both of the split {split!r}")
        if split:
            found[split] = path
    return found


def _require_split(root: Path, split: str, found: Mapping[str, Path]) -> None:
    if split not in found:
        names = SPLITS.get(split, (split,))
        raise UserError(
            f"{root}: no split {split!r} beside {', '.join(map(str, found.values()))}: expected a "
            f"list {names[0]}.txt, or where there are no lists a folder {root / IMAGES.folder}/"
            f"{' or '.join(names)}"
        )


def _require_no_more_folders(
    root: Path, images: Mapping[str, Path], folders: Mapping[str, Path]
) -> None:
    """Refuse images that would be of no split, without a word."""
    for name, path in images.items():
        if name.partition("/")[0] not in folders:
            known = ", ".join(folder.name for folder in folders.values())
            raise UserError(
                f"{path} is of no split: beside {known} in {root / IMAGES.folder} expected nothing "
                f"but {', '.join(SPLIT_OF)}; or list the names in train.txt and val.txt"
            )


def _by_split(files: Mapping[str, Path]) -> dict[str, Path]:
    """Return files by names below the split, whatever its folder is called in this case."""
    renamed = {}
    for name, path in files.items():
        first, slash, rest = name.partition("/")
        renamed[f"{SPLIT_OF.get(first.lower(), first) if slash else first}{slash}{rest}"] = path
    return renamed


def _fifth(root: Path, names: list[str], split: str) -> list[str]:
    """Return the names of a split where nothing says which these are."""
    if split not in ("train", "val") or len(names) < 2:
        raise UserError(
            f"{root}: no split {split!r} of {len(names)} images: a fifth of at least two is for "
            f"validation; or make folders {', '.join(SPLITS)} in both, or lists train.txt, val.txt"
        )
    by_checksum = sorted(names, key=lambda name: sha256(os.fsencode(name)).digest())
    val = {*by_checksum[: max(1, round(len(names) / 5))]}
    return [name for name in names if (name in val) == (split == "val")]


def _scan(root: Path, kind: Kind) -> dict[str, Path]:
    """Return files by their names below the folder, without suffix."""
    folder = root / kind.folder
    if not folder.is_dir():
        raise UserError(f"no folder {folder}; own data need images/ and labels/ in one folder")
    files: dict[str, Path] = {}
    for path in _files(folder):
        # File managers leave files with a leading dot beside pictures.
        if path.suffix.lower() in kind.suffixes and not path.name.startswith("."):
            if not path.is_file():  # a pipe would be waited for
                raise UserError(f"{path}: expected a file")
            name = _normal(path.relative_to(folder).with_suffix("").as_posix())
            if name in files:
                raise UserError(f"{files[name]} and {path} have one name: which is meant?")
            files[name] = path
    return files


def _normal(name: str) -> str:
    """Return the name with each accent in one way: systems differ, and so do images and labels."""
    return unicodedata.normalize("NFC", name)


def _files(folder: Path, around: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Yield all files below a folder, through links too, but not to folders around them."""
    around |= {os.path.realpath(folder)}
    for path in sorted(folder.iterdir()):
        if not path.is_dir():
            yield path
        elif os.path.realpath(path) not in around:
            yield from _files(path, around)


def _by_name_of_image(images: Mapping[str, Path], labels: Mapping[str, Path]) -> dict[str, Path]:
    """Return label maps by the names of their images, where tools gave them longer ones."""
    named: dict[str, Path] = {}
    for name, path in labels.items():
        stem = LABELS_ENDING.sub("", name)
        if name not in images and stem in images:
            name = stem
        if name in named:
            raise UserError(f"{named[name]} and {path} are of one image: which is meant?")
        named[name] = path
    return named


def _listed_names(root: Path, path: Path, *files: Mapping[str, Path]) -> list[str]:
    lines = [(place, line) for place, line in read_list(path) if not line.startswith("#")]
    names = [(place, _listed_name(line, files[0])) for place, line in lines]
    faults = []
    for place, name in names:
        for kind, found in zip((IMAGES, LABELS), files, strict=True):
            if name not in found:
                _require_no_other(root, kind, name)
                faults.append(
                    f"{place}: no file {name} in {root / kind.folder}; the list has names below "
                    "that folder"
                )
    if faults:
        raise SeveralFaultsError(faults)
    return [name for _, name in names]


def _listed_name(line: str, images: Mapping[str, Path]) -> str:
    """Return the name that a line means: with its suffix or not, and a remark behind it or not."""
    line = _normal(line)
    for text in (line, line.partition(" #")[0].rstrip()):
        path = PurePath(text)  # ./a is a
        short = path.with_suffix("") if path.suffix.lower() in IMAGES.suffixes else path
        for name in (path.as_posix(), short.as_posix()):
            if name in images:
                return name
    return PurePath(line).as_posix()


def _require_partners(
    root: Path, names: list[str], images: Mapping[str, Path], labels: Mapping[str, Path]
) -> None:
    faults = []
    for name in names:
        if name not in labels:
            _require_no_other(root, LABELS, name)
            faults.append(f"{images[name]} has no label map {root / 'labels' / name}.png")
        if name not in images:
            _require_no_other(root, IMAGES, name)
            faults.append(f"{labels[name]} has no image {root / 'images' / name}.jpg or .png")
    if faults:
        raise SeveralFaultsError(faults)


def _require_no_other(root: Path, kind: Kind, name: str) -> None:
    """Name the file that was probably meant, but has another suffix."""
    if PurePath(name).is_absolute() or ".." in PurePath(name).parts:
        return
    wanted = root / kind.folder / name
    for path in sorted(wanted.parent.glob(f"{glob.escape(wanted.name)}.*")):
        if path.suffix.lower() not in kind.suffixes:
            raise UserError(f"{path}: {kind.rule}")
