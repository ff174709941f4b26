"""`python -m models import-checkpoint`: from a checkpoint of DeepLab's own code to our weights."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import keras

from models import builder
from models.commands.parsing import make_parser
from models.weights.slim_checkpoint import ARCHITECTURES, Report, import_checkpoint, open_checkpoint
from models.weights.slim_names import SCOPES

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

SUFFIX = ".weights.h5"


def import_parser() -> "ArgumentParser":
    """Return the parser of the command."""
    from jsonargparse.typing import PositiveInt

    parser = make_parser(
        description="Turn a checkpoint of DeepLab's own code into a file of weights."
    )
    add = parser.add_argument
    add("checkpoint", type=Path, help="The checkpoint's prefix, or a folder with one checkpoint.")
    add(
        "--output",
        type=Path,
        required=True,
        help=f"The file that `models.build(..., weights=FILE)` takes: its name ends in {SUFFIX}.",
    )
    add(
        "--architecture",
        type=Literal[ARCHITECTURES],
        default="deeplab_v3_plus",
        help="Of the checkpoint's network.",
    )
    add("--backbone", type=Literal[tuple(SCOPES)], default="xception_65", help="The backbone.")
    add("--num_classes", type=PositiveInt, default=21, help="Number of classes.")
    add(
        "--separable",
        type=bool | None,
        help="Whether pyramid and decoder have depthwise separable kernels; null: the default of "
        "`models.build` for the backbone.",
    )
    add(
        "--partial",
        type=bool,
        default=False,
        help="Accept a checkpoint that lacks variables, like ImageNet's all behind the backbone.",
    )
    return parser


def import_weights(options: "Namespace") -> str:
    """Write the file of weights; return what became of each variable of the checkpoint.

    Raises:
        ValueError: The file cannot be written, or the checkpoint does not fit the network.
    """
    _check_output(options.output)
    open_checkpoint(options.checkpoint)  # before the network is built
    model = builder.build(
        options.architecture,
        backbone=options.backbone,
        num_classes=options.num_classes,
        **({} if options.separable is None else {"separable": options.separable}),
    )
    report = import_checkpoint(model, options.checkpoint, partial=options.partial)
    _save_whole(model, options.output)
    return f"{_listed(report)}\nWeights: {options.output}"


def _check_output(path: Path) -> None:
    """Refuse, before the work, a file that could not be written after it."""
    if not path.name.endswith(SUFFIX):
        raise ValueError(f"{path}: expected a name that ends in {SUFFIX}")
    if path.is_dir():
        raise ValueError(f"{path}: expected a file, it is a folder")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"{path}: the folder {path.parent} cannot be written to")


def _save_whole(model: keras.Model, path: Path) -> None:
    """Save the weights so that a file cut short never bears the name."""
    unfinished = path.with_name(f".{os.getpid()}-{path.name}")  # Keras demands the suffix
    try:
        model.save_weights(unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _listed(report: Report) -> str:
    """List every variable on a line of its own, and the counts at the end, where they are seen."""
    kinds = ("used", "ignored", "unused", "missing")
    lines = [f"{kind:8}{name}" for kind in kinds for name in getattr(report, kind)]
    return "\n".join([*lines, f"Variables: {report}"])
