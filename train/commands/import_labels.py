"""`python -m train import-labels EXPORT --output FOLDER`: own data of annotation tools."""

from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser, Namespace

from train.commands import check
from train.common.cli import make_parser
from train.data.imports.layout import Source
from train.data.imports.registry import LAYOUTS, find_layout, import_labels


def parser() -> ArgumentParser:
    """Return the parser of the command."""
    tools = "; ".join(layout.tools for layout in LAYOUTS.values())
    parser = make_parser(
        description=f"Make own data of an annotation tool's export, and check it: {tools}."
    )
    parser.add_argument("source", type=Path, help="Folder of the export, unpacked.")
    parser.add_argument(
        "--output", type=Path, required=True, help="Folder of the own data; must not exist."
    )
    parser.add_argument(
        "--layout",
        type=Literal[tuple(LAYOUTS)],
        help="How the export was written; default: found by its files.",
    )
    parser.add_argument(
        "--images", type=Path, help="Folder of the images, where the export has none."
    )
    parser.add_argument(
        "--classes",
        type=tuple[str, ...] | None,
        default=None,
        help="Names of the ids 0, 1, …, where the export has none, like '[road, tree]'.",
    )
    return parser


def run(values: Namespace) -> None:
    """Import the labels, and check what came of it."""
    layout = find_layout(values.source, values.layout)
    source = Source(values.source, values.images, values.classes)
    export = import_labels(source, values.output, layout)
    print(f"{values.output}: {len(export.items)} images of {layout.tools}")
    arguments = ["--data.name=folder", f"--data.root={values.output}"]
    check.run(check.parser().parse_args(arguments))
