"""`python -m models summary`: what a network is made of."""

from typing import TYPE_CHECKING, Literal

from models import builder
from models.backbones.registry import BACKBONES
from models.commands.parsing import make_parser
from models.dilation.dilate import OUTPUT_STRIDES
from models.summary import LEAST_SIDE, summary_table

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace


def summary_parser() -> "ArgumentParser":
    """Return the parser of the command."""
    from jsonargparse.typing import PositiveInt

    parser = make_parser(
        description="Parameters, multiply-adds, strides and dilation rates of a network."
    )
    add = parser.add_argument
    add("architecture", type=Literal[tuple(builder.ARCHITECTURES)], help="The architecture.")
    add("--backbone", type=Literal[tuple(BACKBONES)], required=True, help="The backbone.")
    add("--num_classes", type=PositiveInt, default=21, help="Number of classes.")
    add(
        "--output_stride",
        type=Literal[OUTPUT_STRIDES] | None,
        help="Stride of the features; null: the architecture's own.",
    )
    add(
        "--size",
        type=tuple[PositiveInt, PositiveInt],
        default=(513, 513),
        help="Height and width of the image whose multiply-adds are counted.",
    )
    return parser


def summarize(options: "Namespace") -> str:
    """Build a network and return its table.

    Raises:
        ValueError: The image is too small.
    """
    if min(options.size) < LEAST_SIDE:
        raise ValueError(f"--size: expected sides of at least {LEAST_SIDE}, got {options.size}")
    model = builder.build(
        options.architecture,
        backbone=options.backbone,
        num_classes=options.num_classes,
        output_stride=options.output_stride,
    )
    height, width = options.size
    title = f"{options.architecture} on {options.backbone}, an image of {height} × {width}"
    return summary_table(model, options.size, title)
