"""`python -m train bench-input`: how many samples a second are read, beside Pillow and NumPy."""

import multiprocessing
import tempfile
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import PositiveInt
from rich.console import Console

from train.bench import pillow_baseline
from train.bench.files import SETTINGS, make_up
from train.bench.measure import PEER_PROCESSES, measure, memory_peaks
from train.bench.table import results_table, row
from train.common.cli import make_parser


def parser() -> ArgumentParser:
    """Return the parser of the command."""
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


def run(values: Namespace) -> None:
    """Measure every setting and print the table."""
    console = Console()
    sheet = results_table(values.rounds)
    workers = multiprocessing.get_context("spawn").Pool(PEER_PROCESSES)
    with tempfile.TemporaryDirectory() as folder, workers as pool:
        memory = None
        for setting in SETTINGS:
            count = max(int(values.images * setting.share), pillow_baseline.BATCH)
            with console.status(f"writing {count} of {setting.name}"):
                files, records = make_up(setting, count, Path(folder) / setting.dataset.name)
            with console.status(f"memory over {values.epochs} epochs"):
                memory = memory or [*memory_peaks(files, setting.crops[-1], values.epochs)]
            for crop in setting.crops:
                with console.status(f"{setting.name}, crop {crop}"):
                    rates = measure(
                        files, records, crop, pool, rounds=values.rounds, seconds=values.seconds
                    )
                sheet.add_row(*row(setting, crop, rates))
    console.print(sheet)
    early = min(1, len(memory) - 1)
    console.print(
        f"peak memory after {early + 1} epochs {memory[early]:.0f} MB, after {len(memory)} "
        f"{memory[-1]:.0f} MB"
    )
