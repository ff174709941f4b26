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
from typing import IO

import tensorflow as tf
from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import PositiveInt

from train.common import signals
from train.common.cli import command_line, error_prefix
from train.common.errors import UserError
from train.loop.cluster import STOPS_FOR_ANOTHER, TF_CONFIG
from train.runs.configuration import configuration_parser, instantiate

VISIBLE = "CUDA_VISIBLE_DEVICES"
# A worker whose others are gone ends by itself within a minute, and says so.
SECONDS_TO_END = 90.0
POLL_SECONDS = 0.1
# How the line begins in which a worker says its error, as `fit` does.
ERROR = error_prefix("train")


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
        heard: list[int] = []
        with signals.heard_by(heard.append):  # or one that is being started would be left alone
            processes = [
                stack.enter_context(_worker(options, addresses, number, share))
                for number, share in enumerate(shares)
            ]
        if heard:
            raise signals.Interrupted(heard[-1], is_second=len(heard) > 1)
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
    """A worker and what it says on standard error."""

    def __init__(self, number: int, process: subprocess.Popen, errors: IO[bytes]):
        self.number, self.process, self._errors = number, process, errors
        self._passed_on = 0  # bytes
        # Whether it did not end when it had to.
        self.was_killed = False

    def pass_on(self) -> None:
        """Repeat what it has said since the last time, but its error, which this process says."""
        said = self._said_after(self._passed_on)
        if self.process.poll() is None:
            said = said[: said.rfind(b"\n") + 1]
        self._passed_on += len(said)
        lines = said.decode(errors="replace").splitlines(keepends=True)
        print(
            *(line for line in lines if not line.startswith(ERROR)), sep="", end="", file=sys.stderr
        )

    def _said_after(self, start: int) -> bytes:
        """Return what it has said; its own place in the file stays where it is."""
        file = self._errors.fileno()
        return os.pread(file, os.fstat(file).st_size - start, start)

    @property
    def stops_for_another(self) -> bool:
        """Whether it has ended because of another one."""
        return bool(STOPS_FOR_ANOTHER.search(self._said_after(0).decode(errors="replace")))

    @property
    def was_told_to_stop(self) -> bool:
        """Whether it has ended by a signal to stop."""
        return signals.is_status(self.process.returncode)

    def failure(self) -> str:
        """Say why it has failed; pass on what else it said where it does not say why."""
        name, status = f"worker {self.number}", self.process.returncode
        lines = self._said_after(0).decode(errors="replace").splitlines()
        errors = [line.removeprefix(ERROR) for line in lines if line.startswith(ERROR)]
        if self.was_killed:
            return f"{name} had not ended after {SECONDS_TO_END:g} s and was killed"
        if errors:
            return f"{name}: {errors[-1]}"
        words = f"{name} {signals.status_in_words(status)}"
        if status > 0 and self.was_told_to_stop:
            return words
        self.pass_on()
        return f"{words}: what it said is above" if status > 0 else words


@contextmanager
def _worker(
    options: Sequence[str], addresses: Sequence[str], number: int, environment: Mapping[str, str]
) -> Iterator[_Process]:
    """Start a worker, and end it with the block."""
    cluster = {"worker": [*addresses]}
    config = {"cluster": cluster, "task": {"type": "worker", "index": number}}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command_line("fit", options),
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
        KeyboardInterrupt: A signal, which the workers get too; they have saved their step.
    """
    try:
        while any(worker.process.poll() is None for worker in workers):
            workers[0].pass_on()
            if any(worker.process.poll() for worker in workers):
                _let_end(workers)
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt as stop:
        _stop(workers, getattr(stop, "signal", signal.SIGINT))
        raise
    workers[0].pass_on()
    _raise_failure([worker for worker in workers if worker.process.returncode])


def _stop(workers: Sequence[_Process], number: int) -> None:
    """Let the workers save their step and end.

    Raises:
        UserError: One has failed; where one is told to stop a little later than another, it may
            find that one gone, which is no failure.
    """
    os.write(2, signals.AGAIN)  # as each worker says too, which is not passed on
    for worker in workers:
        worker.process.send_signal(number)
    _let_end(workers)
    failed = [worker for worker in workers if worker.process.returncode]
    _raise_failure([each for each in failed if not each.was_told_to_stop | each.stops_for_another])


def _raise_failure(failed: Sequence[_Process]) -> None:
    """Raise the failure that has ended the others, and who had to be killed.

    Raises:
        UserError: There is any.
    """
    killed = [worker for worker in failed if worker.was_killed]
    ended = [worker for worker in failed if not worker.was_killed]
    ended.sort(key=lambda worker: worker.stops_for_another)
    if failed:
        raise UserError("; ".join(worker.failure() for worker in [*ended[:1], *killed]))


def _let_end(workers: Sequence[_Process]) -> None:
    """Wait for the workers, but not for ever."""
    deadline = time.monotonic() + SECONDS_TO_END
    for worker in workers:
        try:
            worker.process.wait(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            worker.was_killed = True
            worker.process.kill()
            worker.process.wait()
