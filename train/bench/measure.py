"""Rates of reading, of the stream and of its peer, and the memory it takes."""

import resource
import statistics
import sys
import time
from collections.abc import Iterator
from multiprocessing.pool import Pool

import tensorflow as tf

from train.bench import pillow_baseline
from train.config import InputConfig
from train.data.input.pipeline import training_stream
from train.data.samples.decode import read_all
from train.data.samples.samples import FileSamples, Samples

SCALE = (0.5, 2.0)
PEER_PROCESSES = 2


def measure(
    files: FileSamples, records: Samples, crop: int, pool: Pool, *, rounds: int, seconds: int
) -> dict[str, float]:
    """Measure the median rates in images/s; each round measures all, on the machine as it is then.

    Args:
        files: Samples as files.
        records: The same as records.
        crop: Side of the crops.
        pool: Processes for the peer.
        rounds: How often everything is measured.
        seconds: How long each measurement takes.
    """
    config = InputConfig(crop=(crop, crop), scale=SCALE)
    decoding = read_all(files).map(lambda image, ids: (image[:1, :1], ids[:1, :1]))
    streams = {
        "decoding": decoding.repeat().batch(pillow_baseline.BATCH),
        "files": training_stream(files, config, batch_size=pillow_baseline.BATCH, seed=0),
        "records": training_stream(records, config, batch_size=pillow_baseline.BATCH, seed=0),
    }
    options = (files.images, files.labels, files.encoding.gray_table, crop, SCALE, seconds)
    found = {key: [] for key in (*streams, "peer", "crop first")}
    for number in range(rounds):
        for key, stream in streams.items():
            found[key].append(_rate(stream, seconds))
        for key, crop_first in (("peer", False), ("crop first", True)):
            seeds = range(number * PEER_PROCESSES, (number + 1) * PEER_PROCESSES)
            work = [(*options, seed, crop_first) for seed in seeds]
            found[key].append(sum(pool.starmap(pillow_baseline.rate, work)))
    return {key: statistics.median(rates) for key, rates in found.items()}


def _rate(stream: tf.data.Dataset, seconds: int) -> float:
    """Measure images a second, from a new start: a stream that waited would have read ahead."""
    batches = iter(stream)
    next(batches)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        next(batches)
        count += pillow_baseline.BATCH
    return count / (time.perf_counter() - start)


def memory_peaks(samples: Samples, crop: int, epochs: int) -> Iterator[float]:
    """Yield the process' peak memory after each epoch, in MB."""
    config = InputConfig(crop=(crop, crop), scale=SCALE)
    stream = iter(training_stream(samples, config, batch_size=pillow_baseline.BATCH, seed=0))
    for _ in range(epochs):
        for _ in range(-(-len(samples) // pillow_baseline.BATCH)):
            tf.ensure_shape(next(stream)[0], [pillow_baseline.BATCH, crop, crop, 3])
        yield _peak_megabytes()


def _peak_megabytes() -> float:
    """Return the process' peak memory so far."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
