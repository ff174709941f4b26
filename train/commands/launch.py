"""`python -m train launch --workers N …`: a cluster of processes on this machine, which train."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import tensorflow as tf
from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import PositiveInt

from train.common.errors import UserError
from train.loop.cluster import STOPS_FOR_ANOTHER, TF_CONFIG
from train.runs.configuration import configuration_parser, instantiate

MODULE = "train"
VISIBLE = "CUDA_VISIBLE_DEVICES"
# A worker whose others are gone ends by itself within a minute, and says so.
SECONDS_TO_END = 90.0
POLL_SECONDS = 0.1


def parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = configuration_parser(
        description="Train a run by several processes on this machine, as `fit` with its options "
        "does on several machines: to try a cluster out, or to use CPUs of several sockets."
    )
    parser.add_argument("--workers", type=PositiveInt, default=2, help="Number of processes.")
    return parser


def run(values: Namespace) -> None:
    """Start the workers, and end with the first that fails.

    Raises:
        UserError: A worker has failed; what it said is in the message.
    """
    workers = values.pop("workers")
    instantiate(values)  # what is wrong with it is said once, before anything is started
    options = _without_workers(sys.argv[sys.argv.index("launch") + 1 :])
    shares = share_gpus(len(tf.config.list_physical_devices("GPU")), workers, os.environ)
    addresses = _free_addresses(workers)
    with ExitStack() as stack:
        processes = [
            stack.enter_context(_worker(options, addresses, number, share))
            for number, share in enumerate(shares)
        ]
        _wait(processes)


def _without_workers(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of `fit` among those of this command."""
    rest, kept = iter(arguments), []
    for argument in rest:
        if argument == "--workers":
            next(rest)
        elif not argument.startswith("--workers="):
            kept.append(argument)
    return kept


def share_gpus(gpus: int, workers: int, environment: Mapping[str, str]) -> list[dict[str, str]]:
    """Return what each worker's environment has of its own: the GPUs that are its share.

    Each would take the memory of all it sees.

    Args:
        gpus: How many this process sees.
        workers: How many workers there are.
        environment: That of this process, which may already leave some of the GPUs out.

    Raises:
        UserError: They cannot be shared equally, as `MultiWorkerMirroredStrategy` needs it.
    """
    if not gpus:
        return [{}] * workers
    if gpus % workers:
        raise UserError(
            f"--workers must divide the {gpus} GPUs of this machine, or some would have none; got "
            f"{workers}; {VISIBLE} before the command chooses some of them, {VISIBLE}=-1 the CPU"
        )
    known = environment.get(VISIBLE)
    names = known.split(",")[:gpus] if known else [*map(str, range(gpus))]
    share = gpus // workers
    return [
        {VISIBLE: ",".join(names[number * share : (number + 1) * share])}
        for number in range(workers)
    ]


def _free_addresses(count: int) -> list[str]:
    """Return addresses of this machine whose ports nobody uses."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("localhost", 0))
        return [f"localhost:{each.getsockname()[1]}" for each in sockets]


class _Process:
    """A worker and what it says of errors."""

    def __init__(
        self, number: int, process: subprocess.Popen, errors: tempfile.SpooledTemporaryFile
    ):
        self.number, self.process, self._errors = number, process, errors

    def failure(self) -> UserError:
        """Return the last line that it wrote on standard error, as an error."""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        words = lines[-1] if lines else f"ended with status {self.process.returncode}"
        return UserError(f"worker {self.number}: {words.removeprefix('python -m train: error: ')}")


@contextmanager
def _worker(
    options: Sequence[str], addresses: Sequence[str], number: int, environment: Mapping[str, str]
) -> Iterator[_Process]:
    """Start a worker, and end it with the block."""
    cluster = {"worker": [*addresses]}
    config = {"cluster": cluster, "task": {"type": "worker", "index": number}}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", MODULE, "fit", *options],
            env={**os.environ, **environment, TF_CONFIG: json.dumps(config)},
            stderr=errors,
            start_new_session=True,  # Ctrl-C would reach it twice
        )
        try:
            yield _Process(number, process, errors)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def _wait(workers: Sequence[_Process]) -> None:
    """Wait until all have ended, or one has failed and the others have had time to end.

    Raises:
        UserError: One has failed.
        KeyboardInterrupt: A signal, which the workers get too; they save their step.
    """
    try:
        while any(worker.process.poll() is None for worker in workers):
            if any(worker.process.poll() for worker in workers):
                _let_end(workers)
                break
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt as stop:
        for worker in workers:
            worker.process.send_signal(getattr(stop, "signal", signal.SIGINT))
        _let_end(workers)
        raise
    failures = [worker.failure() for worker in workers if worker.process.returncode]
    # Not that of a worker that ended because another one had.
    causes = [failure for failure in failures if not STOPS_FOR_ANOTHER.search(str(failure))]
    if failures:
        raise (causes or failures)[0]


def _let_end(workers: Sequence[_Process]) -> None:
    """Wait for the workers, but not for ever."""
    deadline = time.monotonic() + SECONDS_TO_END
    for worker in workers:
        try:
            worker.process.wait(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            worker.process.kill()
