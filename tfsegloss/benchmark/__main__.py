"""The command line of `tfsegloss.benchmark`."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import tensorflow as tf

from tfsegloss.benchmark import measure, memory, report
from tfsegloss.benchmark.losses import losses
from tfsegloss.benchmark.machine import describe
from tfsegloss.benchmark.measure import REFERENCE
from tfsegloss.core.command_line import Parser, check_writable, require_matplotlib, write_whole

SHAPE = (2, 513, 513, 21)
ROUNDS = 20


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and reports; the user's mistakes end with one line and status 2.

    Args:
        arguments: Of the command line; None: those of this process.
    """
    makers = losses()
    parser = _parser(makers)
    options = parser.parse_args(arguments)
    options.shape = tuple(options.shape)
    work = _print_memory if options.memory_of else _benchmark
    parser.run(lambda: work(options, makers))


def _parser(makers: measure.Losses) -> Parser:
    parser = Parser(
        prog="python -m tfsegloss.benchmark",
        description="Time and memory of the losses with their gradients, beside those of Keras' "
        "cross-entropy, on this machine.",
    )
    add = parser.add_argument
    shape = " ".join(map(str, SHAPE))
    axes = ("B", "H", "W", "C")
    add(
        "--shape",
        type=int,
        nargs=4,
        metavar=axes,
        default=SHAPE,
        help=f"of logits (default: {shape})",
    )
    add("--losses", nargs="+", metavar="NAME", help=f"some of {', '.join(makers)} (default: all)")
    add(
        "--rounds",
        type=int,
        metavar="N",
        default=ROUNDS,
        help=f"timed steps of each (default: {ROUNDS})",
    )
    add("--json", type=Path, metavar="FILE", help="write all numbers, as they come")
    add("--plot", type=Path, metavar="FILE", help="draw a PNG (needs matplotlib)")
    add("--skip-memory", action="store_true", help="do not measure memory")
    add("--skip-growth", action="store_true", help="do not measure growth")
    add("--memory-of", choices=makers, help=argparse.SUPPRESS)  # in a process of its own
    return parser


def _print_memory(options: argparse.Namespace, makers: measure.Losses) -> None:
    print(json.dumps(memory.extra_bytes(makers[options.memory_of], options.shape)))


def _benchmark(options: argparse.Namespace, makers: measure.Losses) -> None:
    _check(options, makers)
    names = {REFERENCE, *(options.losses or makers)}
    chosen = {name: make for name, make in makers.items() if name in names}
    setup = {**describe(), "shape": list(options.shape), "rounds": options.rounds}
    timings = measure.times(chosen, options.shape, options.rounds, _progress)
    rows = {name: report.Row(name, **timings[name]) for name in chosen}
    _write_numbers(options, setup, rows, complete=False)
    for name, make in chosen.items():
        rows[name] = dataclasses.replace(rows[name], **_others(name, make, options))
        _write_numbers(options, setup, rows, complete=name == [*chosen][-1])
    title = report.title(setup)
    table = report.table([report.COLUMNS, *map(report.cells, rows.values())])
    print(title, report.LEGEND, table, sep="\n\n", end="\n\n")
    if options.json:
        print(f"Numbers: {options.json}")
    if options.plot:
        write_whole(options.plot, report.picture([*rows.values()], title))
        print(f"Plot: {options.plot}")


def _check(options: argparse.Namespace, makers: measure.Losses) -> None:
    """Says what is wrong with the options before a long run starts."""
    for name in options.losses or ():
        if name not in makers:
            raise ValueError(f"--losses: no {name}; there are {', '.join(makers)}")
    if min(options.shape) < 1 or not 2 <= options.shape[-1] <= measure.IGNORED:
        raise ValueError(
            f"--shape must be B H W ≥ 1 and 2 ≤ C ≤ {measure.IGNORED}, not {options.shape}"
        )
    if options.rounds < 1:
        raise ValueError(f"--rounds must be at least 1, not {options.rounds}")
    if options.json:
        check_writable(options.json)
    if options.plot:
        check_writable(options.plot, [".png"], others=[options.json])
        require_matplotlib()


def _others(name: str, make: Callable, options: argparse.Namespace) -> dict:
    """What is measured of one loss beside its times."""
    others = {}
    if not options.skip_memory:
        others["memory"] = memory.multiples(name, make, options.shape, _progress)
    if not options.skip_growth:
        _progress(f"{name}: growth")
        others["pixels"] = measure.pixel_growth(make, options.shape[-1])
        others["classes"] = measure.class_growth(make)
    return others


def _write_numbers(
    options: argparse.Namespace, setup: dict, rows: dict[str, report.Row], *, complete: bool
) -> None:
    """What is measured so far: an interrupt or an error must not cost an hour's numbers."""
    if options.json:
        losses = [dataclasses.asdict(row) for row in rows.values()]
        numbers = {"setup": setup, "complete": complete, "losses": losses}
        text = json.dumps(numbers, indent=2, allow_nan=False, ensure_ascii=False)
        write_whole(options.json, text + "\n")


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    # TensorFlow warns about repeated tracing, which the benchmark does on purpose.
    tf.get_logger().setLevel("ERROR")
    main()
