"""`python -m models COMMAND`."""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from models import builder
from models.backbones.registry import BACKBONES
from models.dilation.dilate import OUTPUT_STRIDES
from models.summary import LEAST_SIDE, summary_table
from models.weights.slim_checkpoint import ARCHITECTURES, Report, import_checkpoint, open_checkpoint
from models.weights.slim_names import SCOPES

WEIGHTS_SUFFIX = ".weights.h5"


class Command(NamedTuple):
    """A subcommand.

    Attributes:
        description: For the help.
        add_options: Tells its parser what it takes.
        run: What it does with the parsed options; returns what to print.
    """

    description: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], str]


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage before it, and ends with status 2."""

    def error(self, message: str) -> NoReturn:
        """End the program."""
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a subcommand; the user's mistakes end with one line and status 2.

    Args:
        arguments: Of the command line; None: those of this process.
    """
    parser = Parser(prog="python -m models", description="Segmentation networks.")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    parsers = {}
    for name, command in COMMANDS.items():
        parsers[name] = subparsers.add_parser(
            name, help=command.description, description=command.description
        )
        command.add_options(parsers[name])
    options = parser.parse_args(arguments)
    try:
        with _quiet_tensorflow():
            text = COMMANDS[options.command].run(options)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        parsers[options.command].error(str(error))
    except KeyboardInterrupt:
        parser.exit(130, "interrupted\n")
    print(text)


@contextlib.contextmanager
def _quiet_tensorflow() -> Iterator[None]:
    """Keep out of the output what TensorFlow's C++ part says, straight to file descriptor 2."""
    sys.stderr.flush()
    standard_error, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)
        os.close(nowhere)


def _import_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("checkpoint", type=Path, metavar="CKPT", help="its prefix, or a folder with one of them")
    add(
        "--output",
        type=Path,
        required=True,
        metavar=f"FILE{WEIGHTS_SUFFIX}",
        help="what `models.build(..., weights=FILE)` takes",
    )
    add(
        "--architecture",
        choices=ARCHITECTURES,
        default="deeplab_v3_plus",
        help="of the checkpoint's network (default: %(default)s)",
    )
    add("--backbone", choices=SCOPES, default="xception_65", help="(default: %(default)s)")
    add("--num-classes", type=int, default=21, metavar="N", help="(default: %(default)s)")
    add(
        "--separable",
        action=argparse.BooleanOptionalAction,
        help="whether pyramid and decoder have depthwise separable kernels (default: as "
        "`models.build` has it for the backbone)",
    )
    add(
        "--partial",
        action="store_true",
        help="accept a checkpoint that lacks variables, like ImageNet's all behind the backbone",
    )


def _import(options: argparse.Namespace) -> str:
    _check_output(options.output)
    open_checkpoint(options.checkpoint)  # before the network is built
    model = builder.build(
        options.architecture,
        backbone=options.backbone,
        num_classes=options.num_classes,
        **({} if options.separable is None else {"separable": options.separable}),
    )
    report = import_checkpoint(model, options.checkpoint, partial=options.partial)
    # Keras wants to see the ending, and a file cut short must not bear the name.
    unfinished = options.output.with_name(f".{os.getpid()}-{options.output.name}")
    try:
        model.save_weights(unfinished)
        os.replace(unfinished, options.output)
    finally:
        unfinished.unlink(missing_ok=True)
    return f"{_listed(report)}\nWeights: {options.output}"


def _check_output(path: Path) -> None:
    """Refuse, before the work, a file that could not be written after it."""
    if not path.name.endswith(WEIGHTS_SUFFIX):
        raise ValueError(f"{path}: expected a name that ends in {WEIGHTS_SUFFIX}")
    if path.is_dir():
        raise ValueError(f"{path}: expected a file, it is a folder")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"{path}: the folder {path.parent} cannot be written to")


def _listed(report: Report) -> str:
    """Every variable in a line of its own, the counts at the end, where they stay in sight."""
    kinds = ("used", "ignored", "unused", "missing")
    lines = [f"{kind:8}{name}" for kind in kinds for name in getattr(report, kind)]
    return "\n".join([*lines, f"Variables: {report}"])


def _summary_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("architecture", choices=builder.ARCHITECTURES, metavar="NAME", help="%(choices)s")
    add("--backbone", choices=BACKBONES, required=True, metavar="NAME", help="%(choices)s")
    add("--num-classes", type=int, default=21, metavar="N", help="(default: %(default)s)")
    add("--output-stride", type=int, choices=OUTPUT_STRIDES, help="(default: the architecture's)")
    add(
        "--size",
        type=int,
        nargs=2,
        default=(513, 513),
        metavar=("HEIGHT", "WIDTH"),
        help="of the image whose multiply-adds are counted (default: 513 513)",
    )


def _summary(options: argparse.Namespace) -> str:
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


COMMANDS = {
    "summary": Command(
        "Parameters, multiply-adds, strides and dilation rates of a network.",
        _summary_options,
        _summary,
    ),
    "import-checkpoint": Command(
        "Turn a checkpoint of DeepLab's own code into a file of weights.", _import_options, _import
    ),
}

if __name__ == "__main__":
    main()
