"""Own data: a folder of images, a folder of label maps, and a file that says what they mean."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from train.common.errors import UserError
from train.data.datasets.dataset import Dataset
from train.data.datasets.folder_files import has_test, list_folder
from train.data.datasets.voc import VOC2012, voc_colors
from train.data.decoding.palette import IGNORED, Color

NAME = "folder"
FILE = "classes.yaml"
KEYS = ("classes", "ids", "ignored_ids", "ignored_colors")
BACKGROUND = "background"  # what one class alone is told from
HELP = f"{FILE}, images/ and labels/ in one folder"


def read_folder(root: Path) -> Dataset:
    """Read the description of own data.

    `classes.yaml` holds `classes`, a list of names, or of `{name: road, color: [128, 64, 128]}`;
    and, where needed, `ids`, the class of each id in the files, such as `{0: background, 255:
    leaf}` (otherwise the ids are 0, 1, … in the order of the classes); `ignored_ids` and
    `ignored_colors`, lists of what means "no label" beside the id 255, if that is no class. Without
    colors the classes have those of VOC's color map, which most tools give their palettes, and its
    last color, (224, 224, 192), is ignored too.

    One class alone, `[leaf]`, is told from a `background`, whose id comes before it.

    `folder_files` says which files are its samples, and of which split.

    Args:
        root: The folder.

    Returns:
        Its description.

    Raises:
        UserError: `classes.yaml` is missing or wrong.
    """
    path = root / FILE
    if not path.is_file():
        raise UserError(f"no file {path}; own data need {HELP}")
    entries = _load(path)
    names, colors = _classes(path, entries.get("classes"))
    is_binary = len(names) == 1
    if is_binary:
        names, colors = _with_background(path, names, colors)
    ids = _ids(path, entries["ids"], names) if "ids" in entries else None
    ignored_colors = _colors(path, "ignored_colors", entries.get("ignored_colors", []))
    if not colors:
        colors = voc_colors(len(names))
        ignored_colors = (*dict.fromkeys((*ignored_colors, *VOC2012.ignored_colors)),)
    for color in ignored_colors:
        if color in colors:
            owner = names[colors.index(color)]
            raise UserError(f"{path}: ignored_colors: {[*color]} is the color of {owner}")
    return Dataset(
        name=NAME,
        class_names=names,
        colors=colors,
        is_binary=is_binary,
        ids=ids,
        ignored_ids=_ignored_ids(path, entries.get("ignored_ids", []), ids or range(len(names))),
        ignored_colors=ignored_colors,
        splits=dict.fromkeys(("train", "val", *(["test"] if has_test(root) else []))),
        source=HELP,
        license="yours",
        list_split=list_folder,
        labels_remedy=f"; {FILE} says what they mean: `ids`, or the `color` of each class",
    )


def _load(path: Path) -> Mapping[str, Any]:
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:  # a date of month 13 is a ValueError
        raise UserError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(entries, dict):
        raise UserError(f"{path}: expected the keys {', '.join(KEYS)}, got {entries!r}")
    for key in entries:
        if key not in KEYS:
            raise UserError(f"{path}: no key {key!r}: expected {', '.join(KEYS)}")
    return entries


def _classes(path: Path, entries: Any) -> tuple[tuple[str, ...], tuple[Color, ...]]:
    """Return names and colors; no colors where there are none."""
    entries = _listed(path, "classes", entries)
    if not 0 < len(entries) <= IGNORED:
        raise UserError(f"{path}: classes: expected 1 to {IGNORED} entries, got {len(entries)}")
    pairs = [_class(path, entry) for entry in entries]
    names = tuple(name for name, _ in pairs)
    given = [color for _, color in pairs if color is not None]
    if given and len(given) < len(names):
        bare = next(name for name, color in pairs if color is None)
        raise UserError(f"{path}: classes: all have a color or none has; {bare} has none")
    _require_distinct(path, "classes", names)
    return names, _colors(path, "classes", given)


def _class(path: Path, entry: Any) -> tuple[str, Any]:
    name, color = entry, None
    if isinstance(entry, dict) and "name" in entry and entry.keys() <= {"name", "color"}:
        name, color = entry["name"], entry.get("color")
    # YAML reads a bare `no` as False: it must be quoted.
    if not isinstance(name, str) or not name or not name.isprintable():
        raise UserError(
            f"{path}: classes: expected a name or {{name: NAME, color: [R, G, B]}}, got {entry!r}"
        )
    return name, color


def _with_background(
    path: Path, names: tuple[str, ...], colors: tuple[Color, ...]
) -> tuple[tuple[str, ...], tuple[Color, ...]]:
    """Return names and colors of the background and of the one class."""
    if names == (BACKGROUND,):
        raise UserError(f"{path}: classes: {BACKGROUND} alone leaves nothing to tell it from")
    if colors:
        black, white = (0, 0, 0), (255, 255, 255)
        colors = (white if colors[0] == black else black, *colors)
    return (BACKGROUND, *names), colors


def _ids(path: Path, entries: Any, names: tuple[str, ...]) -> dict[int, int]:
    """Return the class of each id in the files."""
    if not isinstance(entries, dict):
        raise UserError(f"{path}: ids: expected {{ID: NAME, …}}, got {entries!r}")
    for entry, name in entries.items():
        if not _is_byte(entry):
            raise UserError(f"{path}: ids: expected ids from 0 to 255, got {entry!r}")
        if name not in names:
            raise UserError(
                f"{path}: ids: {entry}: expected one of {', '.join(names)}; got {name!r}"
            )
    for name in names:
        if name not in entries.values():
            raise UserError(f"{path}: ids: no id means {name}")
    return {entry: names.index(name) for entry, name in entries.items()}


def _ignored_ids(path: Path, entries: Any, ids: Collection[int]) -> tuple[int, ...]:
    entries = _listed(path, "ignored_ids", entries)
    for entry in entries:
        if not _is_byte(entry) or entry in ids:
            raise UserError(
                f"{path}: ignored_ids: expected ids up to {IGNORED} that are none of the classes' "
                f"({', '.join(map(str, ids))}), got {entry!r}"
            )
    return tuple(entries)


def _colors(path: Path, key: str, entries: Any) -> tuple[Color, ...]:
    entries = _listed(path, key, entries)
    for entry in entries:
        if not isinstance(entry, list) or len(entry) != 3 or not all(map(_is_byte, entry)):
            raise UserError(f"{path}: {key}: expected a color [R, G, B] of 0 to 255, got {entry!r}")
    _require_distinct(path, key, entries)
    return tuple(map(tuple, entries))


def _listed(path: Path, key: str, entries: Any) -> list:
    if not isinstance(entries, list):
        raise UserError(f"{path}: {key}: expected a list, got {entries!r}")
    return entries


def _is_byte(value: Any) -> bool:
    return type(value) is int and 0 <= value <= 255  # True is an int too, but no byte


def _require_distinct(path: Path, key: str, values: Any) -> None:
    for i, value in enumerate(values):
        if value in values[:i]:
            raise UserError(f"{path}: {key}: {value!r} is there twice")
