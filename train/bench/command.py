"""`python -m train bench-input`: how many samples a second are read, beside Pillow and NumPy."""

import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.pool import Pool
from pathlib import Path

import tensorflow as tf
from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import PositiveInt
from rich.console import Console
from rich.table import Table

from train.bench import pillow_baseline
from train.bench.files import SETTINGS, Setting, make_up
from train.common.cli import make_parser
from train.config import InputConfig
from train.data.input.pipeline import training_stream
from train.data.samples.decode import read_all
from train.data.samples.samples import FileSamples, Samples

SCALE = (0.5, 2.0)
PEER_PROCESSES = 2


def bench_parser() -> ArgumentParser:
    """The parser of the command."""
    parser = make_parser(
        description="Measure how many images a second the training stream reads, from files and "
        "from records, beside bare decoding and beside Pillow and NumPy, in two processes, doing "
        "the same work, in the usual order (resize, then crop) and in the stream's (crop, then "
        "resize); and whether its memory grows. The files are made up, of the sizes of VOC's "
        "and Cityscapes', in a temporary folder."
    )
    parser.add_argument("--images", type=PositiveInt, default=96, help="Files of VOC's size.")
    parser.add_argument("--rounds", type=PositiveInt, default=3, help="The median of so many.")
    parser.add_argument("--seconds", type=PositiveInt, default=5, help="Of each measurement.")
    parser.add_argument("--epochs", type=PositiveInt, default=20, help="To watch the memory over.")
    return parser


def bench(values: Namespace) -> None:
    """Measures every setting and prints the table."""
    console = Console()
    sheet = Table(
        title=f"images/s, median of {values.rounds} rounds, batches of {pillow_baseline.BATCH}"
    )
    sheet.add_column("files")
    columns = ("crop", "decoding", "folder", "of decoding", "records", "peer", "folder / peer")
    more = ("records / peer", "crop first", "folder / crop first")
    for column in (*columns, *more):
        sheet.add_column(column, justify="right")
    workers = multiprocessing.get_context("spawn").Pool(PEER_PROCESSES)
    with tempfile.TemporaryDirectory() as folder, workers as pool:
        memory = None
        for setting in SETTINGS:
            count = max(int(values.images * setting.share), pillow_baseline.BATCH)
            with console.status(f"writing {count} of {setting.name}"):
                files, records = make_up(setting, count, Path(folder) / setting.dataset.name)
            with console.status(f"memory over {values.epochs} epochs"):
                memory = memory or [*peaks(files, setting.crops[-1], values.epochs)]
            for crop in setting.crops:
                with console.status(f"{setting.name}, crop {crop}"):
                    rates = measure(files, records, crop, values, pool)
                sheet.add_row(*row(setting, crop, rates))
    console.print(sheet)
    early = min(1, len(memory) - 1)
    console.print(
        f"peak memory after {early + 1} epochs {memory[early]:.0f} MB, after {len(memory)} "
        f"{memory[-1]:.0f} MB"
    )


def measure(
    files: FileSamples, records: Samples, crop: int, values: Namespace, pool: Pool
) -> dict[str, float]:
    """Median rates in images/s. Each round measures all, in the same mood of the machine."""
    config = InputConfig(crop=(crop, crop), scale=SCALE)
    decoding = read_all(files).map(lambda image, ids: (image[:1, :1], ids[:1, :1]))
    streams = {
        "decoding": decoding.repeat().batch(pillow_baseline.BATCH),
        "files": training_stream(files, config, batch_size=pillow_baseline.BATCH, seed=0),
        "records": training_stream(records, config, batch_size=pillow_baseline.BATCH, seed=0),
    }
    options = (files.images, files.labels, files.encoding.gray_table, crop, SCALE, values.seconds)
    found = {key: [] for key in (*streams, "peer", "crop first")}
    for number in range(values.rounds):
        for key, stream in streams.items():
            found[key].append(_rate(stream, values.seconds))
        for key, crop_first in (("peer", False), ("crop first", True)):
            seeds = range(number * PEER_PROCESSES, (number + 1) * PEER_PROCESSES)
            work = [(*options, seed, crop_first) for seed in seeds]
            found[key].append(sum(pool.starmap(pillow_baseline.rate, work)))
    return {key: statistics.median(rates) for key, rates in found.items()}


def _rate(stream: tf.data.Dataset, seconds: int) -> float:
    """Images a second, from a new start: a stream that waited would have read ahead."""
    batches = iter(stream)
    next(batches)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        next(batches)
        count += pillow_baseline.BATCH
    return count / (time.perf_counter() - start)


def row(setting: Setting, crop: int, rates: dict[str, float]) -> list[str]:
    """The cells of a setting."""
    decoding, files, records, of_peer, crop_first = rates.values()
    return [
        setting.name,
        f"{crop}",
        f"{decoding:.0f}",
        f"{files:.0f}",
        f"{files / decoding:.0%}",
        f"{records:.0f}",
        f"{of_peer:.0f}",
        f"{files / of_peer:.2f} ×",
        f"{records / of_peer:.2f} ×",
        f"{crop_first:.0f}",
        f"{files / crop_first:.2f} ×",
    ]


def peaks(samples: Samples, crop: int, epochs: int) -> Iterator[float]:
    """The process' peak memory after each epoch, in MB."""
    config = InputConfig(crop=(crop, crop), scale=SCALE)
    stream = iter(training_stream(samples, config, batch_size=pillow_baseline.BATCH, seed=0))
    unit = 2**20 if sys.platform == "darwin" else 2**10
    for _ in range(epochs):
        for _ in range(-(-len(samples) // pillow_baseline.BATCH)):
            tf.ensure_shape(next(stream)[0], [pillow_baseline.BATCH, crop, crop, 3])
        yield resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
