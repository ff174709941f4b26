"""The command line of `tfsegloss.explain`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tfsegloss.core.command_line import Parser, check_writable, require_matplotlib
from tfsegloss.explain.lmp_figures import draw_optimal_weights, draw_weight_space
from tfsegloss.explain.picture import SUFFIXES, draw, save
from tfsegloss.explain.reading import read_array, read_image, read_labels
from tfsegloss.losses.registry import LOSSES, losses_by_name

LMP_FIGURES = {"lmp_figure_1.png": draw_weight_space, "lmp_figure_2.png": draw_optimal_weights}


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw; the user's mistakes end with one line and status 2.

    Args:
        arguments: Of the command line; None: those of this process.
    """
    parser = _parser()
    values = parser.parse_args(arguments)
    pair = (values.labels, values.logits, values.output)
    if values.figures is None and None in pair:
        parser.error("expected LABELS LOGITS --output PICTURE, or --figures DIR")
    if values.figures is not None and any((*pair, values.losses, values.image)):
        parser.error("--figures DIR stands alone")
    write = _write_picture if values.figures is None else _write_figures
    parser.run(lambda: write(values))


def _parser() -> Parser:
    parser = Parser(
        prog="python -m tfsegloss.explain",
        description="Pictures of what losses look at in an image, or the figures of LMP's paper.",
    )
    add = parser.add_argument
    add("labels", type=Path, nargs="?", help="ids [H, W]: .npy, or an 8-bit gray PNG")
    add("logits", type=Path, nargs="?", help="logits [H, W, C]: .npy")
    add("--output", type=Path, help=f"the picture: {', '.join(SUFFIXES)}")
    add(
        "--losses",
        nargs="+",
        metavar="LOSS",
        help=f"some of {', '.join(LOSSES)} (default: all that the classes are enough for; the "
        "first is the one that the others' gradients are compared with)",
    )
    add("--image", type=Path, help="the image to show beside the maps: JPEG or PNG")
    add(
        "--figures", type=Path, metavar="DIR", help=f"write LMP's figures: {', '.join(LMP_FIGURES)}"
    )
    return parser


def _write_picture(values: argparse.Namespace) -> None:
    inputs = (values.labels, values.logits, values.image)
    check_writable(values.output, SUFFIXES, others=inputs)
    require_matplotlib()
    losses_by_name(values.losses)  # names are refused before files are read
    labels, logits = read_labels(values.labels), read_array(values.logits)
    num_classes = max(logits.shape[-1], 1) if logits.ndim else 1  # what has none is refused below
    losses = losses_by_name(values.losses, num_classes=num_classes)
    image = None if values.image is None else read_image(values.image)
    save(draw(losses, labels, logits, image=image), values.output)
    if values.losses is None and losses.keys() != LOSSES.keys():
        left_out = ", ".join(name for name in LOSSES if name not in losses)
        print(f"Not drawn, for {num_classes} classes are too few: {left_out}", file=sys.stderr)
    print(f"Picture: {values.output}")


def _write_figures(values: argparse.Namespace) -> None:
    folder = values.figures
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder, it is a file")
    require_matplotlib()
    folder.mkdir(parents=True, exist_ok=True)
    makers = {folder / name: make for name, make in LMP_FIGURES.items()}
    for path in makers:
        check_writable(path)
    for path, make in makers.items():
        save(make(), path)
    print(f"Figures: {', '.join(map(str, makers))}")


if __name__ == "__main__":
    main()
