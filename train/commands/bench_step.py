"""`python -m train bench-step`: what the loop and the losses add to a step."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import tensorflow as tf
from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import PositiveInt
from rich.console import Console
from rich.table import Table

import models
from tfsegloss.benchmark.losses import losses
from tfsegloss.benchmark.measure import REFERENCE
from train.bench.step import LoopCost, loop_cost, loss_costs
from train.common.cli import make_parser

# The demo's network, crop and batch: short steps, to which a loop adds most.
LOOP_BACKBONE, LOOP_CROP, LOOP_BATCH, LOOP_CLASSES = "mobilenet_v2", (144, 192), 8, 11
ROUND = 25  # steps


def parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(
        description="Measure what the loop adds to a bare compiled step (of DeepLabV3+ on "
        "MobileNetV2, the demo's, whose steps are short), whether memory grows meanwhile, and what "
        "each loss adds to the step of a large network."
    )
    parser.add_argument("--steps", type=PositiveInt, default=500, help="Of the loop.")
    parser.add_argument(
        "--backbone",
        type=Literal[tuple(models.BACKBONES)],
        default="resnet101_beta",
        help="Of the DeepLabV3+ that the losses are beside.",
    )
    parser.add_argument("--crop", type=PositiveInt, default=513, help="Side of its images.")
    parser.add_argument("--batch_size", type=PositiveInt, default=1, help="Number of its images.")
    parser.add_argument("--num_classes", type=PositiveInt, default=21, help="Its classes.")
    parser.add_argument("--rounds", type=PositiveInt, default=5, help="The median of so many.")
    return parser


def run(values: Namespace) -> None:
    """Measure, and print both."""
    tf.get_logger().setLevel("ERROR")  # the steps of many losses look to it like one that changes
    console = Console(soft_wrap=True, highlight=False)
    rounds = max(values.steps // ROUND, 1)
    steps = min(values.steps, ROUND)
    with console.status(f"the loop: {rounds} rounds of {steps} steps"):
        network = _network(LOOP_BACKBONE, LOOP_CLASSES)
        console.print(_loop_lines(loop_cost(network, LOOP_CROP, LOOP_BATCH, steps, rounds)))
    shape = (values.batch_size, values.crop, values.crop, values.num_classes)
    table = Table("loss", "s", "of a step", box=None)
    with console.status(f"losses beside DeepLabV3+ on {values.backbone}, {shape}"):
        network = _network(values.backbone, values.num_classes)
        for name, cost in loss_costs(network, losses(), REFERENCE, shape, values.rounds):
            table.add_row(name, f"{cost.loss:.3f}", f"{100 * cost.share:+.1f} %")
    console.print(
        f"A step of DeepLabV3+ on {values.backbone} at {shape} with Keras' cross-entropy: "
        f"{cost.step:.2f} s, of which {cost.keras:.3f} s the loss; what others add:"
    )
    console.print(table)


def _network(backbone: str, num_classes: int) -> Callable:
    return partial(models.build, "deeplab_v3_plus", backbone=backbone, num_classes=num_classes)


def _loop_lines(cost: LoopCost) -> str:
    return (
        f"the loop over a bare step: {100 * (cost.ratio - 1):+.1f} % (median of {len(cost.loop)} "
        f"rounds; bare {1000 * min(cost.bare):.0f} ms at best)\n"
        f"memory in use after the first round {cost.megabytes[0]:.0f} MB, after the last "
        f"{cost.megabytes[-1]:.0f} MB: {cost.growth:+.1f} MB"
    )
