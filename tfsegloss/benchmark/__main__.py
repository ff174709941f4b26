"""The command line of `tfsegloss.benchmark`."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
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
    """Measure and report; the user's mistakes end with one line and status 2.

    Args:
        arguments: Of the command line; None: those of this process.
    """
    makers = losses()
    parser = _parser(makers)
    options = parser.parse_args(arguments)
    options.shapes = _shapes(options)
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
    add(
        "--num_classes",
        type=int,
        nargs="+",
        metavar="C",
        help="measure everything for each of these numbers of classes, instead of --shape's C",
    )
    add(
        "--losses",
        nargs="+",
        metavar="NAME",
        help=f"some of {', '.join(makers)} (default: all that the classes are enough for)",
    )
    add(
        "--rounds",
        type=int,
        metavar="N",
        default=ROUNDS,
        help=f"timed steps of each (default: {ROUNDS})",
    )
    add("--json", type=Path, metavar="FILE", help="write all numbers, as they come")
    add("--plot", type=Path, metavar="FILE", help="draw a PNG (needs matplotlib)")
    add("--skip_memory", action="store_true", help="do not measure memory")
    add("--skip_growth", action="store_true", help="do not measure growth")
    add("--memory_of", choices=makers, help=argparse.SUPPRESS)  # in a process of its own
    return parser


def _shapes(options: argparse.Namespace) -> list[measure.Shape]:
    *size, num_classes = options.shape
    return [(*size, c) for c in options.num_classes or [num_classes]]


def _print_memory(options: argparse.Namespace, makers: measure.Losses) -> None:
    peaks = memory.extra_bytes(makers[options.memory_of], options.shapes[0])
    print(json.dumps([dataclasses.asdict(peak) for peak in peaks]))


def _benchmark(options: argparse.Namespace, makers: measure.Losses) -> None:
    _check(options, makers)
    setup = {**describe(), "rounds": options.rounds}
    tables = {}
    for shape in options.shapes:
        names = {REFERENCE, *_names(options, makers, shape)}
        chosen = {name: make for name, make in makers.items() if name in names}
        if not options.losses and names != makers.keys():
            left_out = ", ".join(name for name in makers if name not in names)
            _progress(f"Not measured, for {shape[-1]} classes are too few: {left_out}")
        for rows in _rows(chosen, shape, options):
            tables[shape] = rows
            _write_numbers(options, setup, tables, complete=False)
        print(report.title(setup, shape), report.LEGEND, sep="\n\n", end="\n\n")
        lines = [report.COLUMNS, *map(report.cells, rows.values())]
        print(report.table(lines), end="\n\n", flush=True)
    _write_numbers(options, setup, tables, complete=True)
    if options.json:
        print(f"Numbers: {options.json}")
    if options.plot:
        picture = report.picture([*rows.values()], report.title(setup, shape))
        write_whole(options.plot, picture)
        print(f"Plot: {options.plot}")


def _rows(
    makers: measure.Losses, shape: measure.Shape, options: argparse.Namespace
) -> Iterator[dict[str, report.Row]]:
    """Yield all rows each time that something of them has been measured."""
    timings = measure.times(makers, shape, options.rounds, _progress)
    rows = {name: report.Row(name, **timings[name]) for name in makers}
    yield rows
    for name, make in makers.items():
        rows[name] = dataclasses.replace(rows[name], **_others(name, make, shape, options))
        yield rows


def _names(options: argparse.Namespace, makers: measure.Losses, shape: measure.Shape) -> list[str]:
    """Return the losses that are asked for, or all that the shape has enough classes for."""
    return options.losses or [n for n, make in makers.items() if _least_classes(make) <= shape[-1]]


def _least_classes(make: Callable) -> int:
    return getattr(make(), "least_classes", 2)  # Keras' own has none


def _check(options: argparse.Namespace, makers: measure.Losses) -> None:
    """Refuse wrong options before a long run starts."""
    for name in options.losses or ():
        if name not in makers:
            raise ValueError(f"--losses: no {name}; there are {', '.join(makers)}")
    for shape in options.shapes:
        names = (REFERENCE, *_names(options, makers, shape))
        needed = {name: _least_classes(makers[name]) for name in names}
        most = max(needed, key=needed.get)
        if min(shape) < 1 or shape[-1] < needed[most]:
            raise ValueError(
                f"--shape must be B H W ≥ 1 and C (--num_classes) ≥ {needed[most]} for {most}, not "
                f"{shape}"
            )
    if options.rounds < 1:
        raise ValueError(f"--rounds must be at least 1, not {options.rounds}")
    if options.json:
        check_writable(options.json)
    if options.plot:
        if len(options.shapes) > 1:
            raise ValueError("--plot draws one table; give --num_classes one number")
        check_writable(options.plot, [".png"], others=[options.json])
        require_matplotlib()


def _others(name: str, make: Callable, shape: measure.Shape, options: argparse.Namespace) -> dict:
    """Measure what belongs to one loss beside its times."""
    others = {}
    if not options.skip_memory:
        others["memory"] = memory.multiples(name, make, shape, _progress)
    if not options.skip_growth:
        _progress(f"{name}: growth")
        others["pixels"] = measure.pixel_growth(make, shape[-1])
        others["classes"] = measure.class_growth(make)
    return others


def _write_numbers(
    options: argparse.Namespace, setup: dict, tables: dict, *, complete: bool
) -> None:
    """Write what is measured so far: an interrupt or an error must not cost an hour's numbers."""
    if options.json:
        found = [
            {"shape": shape, "losses": [dataclasses.asdict(row) for row in rows.values()]}
            for shape, rows in tables.items()
        ]
        numbers = {"setup": setup, "complete": complete, "tables": found}
        text = json.dumps(numbers, indent=2, allow_nan=False, ensure_ascii=False)
        write_whole(options.json, text + "\n")


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    # TensorFlow warns about repeated tracing, which the benchmark does on purpose.
    tf.get_logger().setLevel("ERROR")
    main()
