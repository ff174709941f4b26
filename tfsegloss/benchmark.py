"""The losses beside Keras' cross-entropy, on this machine: `python -m tfsegloss.benchmark`."""

import argparse
import dataclasses
import functools
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import tensorflow as tf

import tfsegloss
from tfsegloss import benchmark_measure as measure
from tfsegloss import benchmark_memory as memory
from tfsegloss import benchmark_report as report
from tfsegloss import ssim
from tfsegloss.benchmark_measure import REFERENCE
from tfsegloss.command_line import Parser, write_whole

PROGRAM = "python -m tfsegloss.benchmark"
SHAPE = (2, 513, 513, 21)
ROUNDS = 20


def losses() -> dict[str, Callable[[], keras.losses.Loss]]:
    """How to make each loss that is measured, by name; Keras' own is the first.

    Returns:
        A default instance of every loss of the library, the other form of SSIM, and the softmax's
        cross-entropy with every pooling but the mean, which is its default.

    Example:

    >>> list(losses())[:3]
    ['Keras', 'AffinityFieldLoss', 'CenterLoss']
    """
    exported = [getattr(tfsegloss, name) for name in tfsegloss.__all__]
    makers = {REFERENCE: _keras_cross_entropy}
    bases = (tfsegloss.SegmentationLoss, tfsegloss.PixelLoss, tfsegloss.WeightedLosses)
    for kind in _subclasses(exported, tfsegloss.SegmentationLoss, bases):
        makers[kind.__name__] = kind
    for form in ssim.FORMS:
        if form != tfsegloss.SSIMLoss().form:
            makers[f"SSIMLoss/{form}"] = functools.partial(tfsegloss.SSIMLoss, form=form)
    for kind in _subclasses(exported, tfsegloss.Pooling, (tfsegloss.Pooling, tfsegloss.Mean)):
        make = functools.partial(tfsegloss.SoftmaxCrossEntropy, pooling=kind())
        makers[f"SoftmaxCrossEntropy/{kind.__name__}"] = make
    return makers


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and reports; a mistake in the arguments ends with one line and status 2.

    Args:
        arguments: Of the command line; None: those of this process.
    """
    makers = losses()
    options = _parse(arguments, makers)
    if options.memory_of:
        print(json.dumps(memory.extra_bytes(makers[options.memory_of], options.shape)))
        return
    chosen = {name: makers[name] for name in makers if name in (REFERENCE, *options.losses)}
    rows, compiling = _measure(chosen, options)
    setup = _setup(options)
    header = _header(setup, options, compiling)
    print(header, report.table([report.COLUMNS, *map(report.cells, rows)]), sep="\n\n")
    if options.json:
        numbers = {"setup": setup, "losses": [dataclasses.asdict(row) for row in rows]}
        text = json.dumps(numbers, indent=2, allow_nan=False, ensure_ascii=False)
        write_whole(options.json, text.encode() + b"\n")
    if options.plot:
        write_whole(options.plot, report.picture(rows, header.split("\n\n")[0]))


def _measure(makers: measure.Losses, options: argparse.Namespace) -> tuple[list[report.Row], bool]:
    """The rows of the table, and whether the memory of compiling is in one of them."""
    timings = measure.times(makers, options.shape, options.rounds, _progress)
    rows, compiling = [], False
    for name, make in makers.items():
        others = {}
        if not options.skip_memory:
            others["memory"], without = memory.multiple(name, make, options.shape, _progress)
            compiling |= not without
        if not options.skip_growth:
            _progress(f"{name}: growth")
            others["pixels"] = measure.pixel_growth(make, options.shape[-1])
            others["classes"] = measure.class_growth(make)
        rows.append(report.Row(name, **timings[name], **others))
    return rows, compiling


def _setup(options: argparse.Namespace) -> dict:
    return {
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "python": platform.python_version(),
        "device": _device(),
        "cores": _cores(),
        "shape": list(options.shape),
        "rounds": options.rounds,
    }


def _header(setup: dict, options: argparse.Namespace, compiling: bool) -> str:
    """What was measured and how, in two paragraphs."""
    versions = ", ".join(f"{name} {setup[name]}" for name in ("tensorflow", "keras", "python"))
    where = f"{setup['device']}, {setup['cores']} cores"
    what = f"shape {'×'.join(map(str, options.shape))}, median of {options.rounds} rounds"
    notes = [
        "×: time of loss and gradient ÷ Keras' in a plain tf.function; compiled: jit_compile=True.",
    ]
    if not options.skip_memory:
        notes.append(
            "memory ×: peak of steps in a plain tf.function over the inputs and the gradient, ÷ "
            "size of the logits." + (" It includes compiling." if compiling else "")
        )
    if not options.skip_growth:
        notes.append(
            f"exp.: plain time ~ pixels^exp. (one image, {measure.FITTED_SIDE}² to "
            f"{measure.SIDES[-1]}² fitted) and ~ classes^exp. ({measure.CLASSES_SIDE}², "
            f"{measure.CLASSES[0]} to {measure.CLASSES[-1]})."
        )
    return "\n".join([f"{versions}; {where}", what, "", *notes])


def _device() -> str:
    for gpu in measure.gpus():
        return tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _cores() -> int | None:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _keras_cross_entropy() -> keras.losses.Loss:
    return keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=measure.IGNORED
    )


def _subclasses(values: Sequence, base: type, without: Sequence[type]) -> list[type]:
    classes = (value for value in values if isinstance(value, type))
    return [kind for kind in classes if issubclass(kind, base) and kind not in without]


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parse(arguments: Sequence[str] | None, makers: measure.Losses) -> argparse.Namespace:
    parser = Parser(prog=PROGRAM, description=__doc__.split(":")[0] + ".")
    add = parser.add_argument
    add("--shape", type=int, nargs=4, metavar=("B", "H", "W", "C"), default=SHAPE, help="of logits")
    add("--losses", nargs="+", metavar="NAME", help=f"some of: {', '.join(makers)}")
    add("--rounds", type=int, metavar="N", default=ROUNDS, help="steps that are timed")
    add("--json", type=Path, metavar="FILE", help="write all numbers")
    add("--plot", type=Path, metavar="FILE", help="draw a PNG (needs matplotlib)")
    add("--skip-memory", action="store_true", help="do not measure memory")
    add("--skip-growth", action="store_true", help="do not measure growth")
    add("--memory-of", choices=makers, help=argparse.SUPPRESS)  # in a process of its own
    options = parser.parse_args(arguments)
    options.shape = tuple(options.shape)
    options.losses = options.losses or list(makers)
    if problem := _problem(options, makers):
        parser.error(problem)
    return options


def _problem(options: argparse.Namespace, makers: measure.Losses) -> str | None:
    """What is wrong with the options, before a long run starts."""
    unknown = [name for name in options.losses if name not in makers]
    if unknown:
        return f"--losses: no {', '.join(unknown)}; there are {', '.join(makers)}"
    if min(options.shape) < 1 or not 2 <= options.shape[-1] <= measure.IGNORED:
        return f"--shape must be B H W ≥ 1 and 2 ≤ C ≤ {measure.IGNORED}, not {options.shape}"
    if options.rounds < 1:
        return f"--rounds must be at least 1, not {options.rounds}"
    for path in filter(None, (options.json, options.plot)):
        if path.is_dir() or not os.access(path.parent, os.W_OK):
            return f"cannot write {path}"
    if options.plot and importlib.util.find_spec("matplotlib") is None:
        return "--plot needs matplotlib: pip install 'tfsegloss[plot]'"
    return None


if __name__ == "__main__":
    # It warns of many functions traced, which is what is wanted here.
    tf.get_logger().setLevel("ERROR")
    main()
