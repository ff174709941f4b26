"""The start of a cluster: its workers wait for each other, then TensorFlow connects them."""

import errno
import faulthandler
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import NamedTuple

import tensorflow as tf

from train.common import signals
from train.common.errors import UserError
from train.loop.cluster import Worker

CLUSTER_TIMEOUT = 300.0  # seconds
SECONDS_BETWEEN_CALLS = 0.2
SECONDS_OF_A_CALL = 2.0
# What a waiting worker says to who calls, before its number and its cluster.
GREETING = b"tfsegloss worker "
OF = b" of "


class Remedies(NamedTuple):
    """What the user can do where a worker does not find the others.

    Args:
        absent: Nobody is there.
        port: Another process has the port.
        cluster: The worker there is of another cluster.
        number: It has another number.
    """

    absent: str
    port: str
    cluster: str
    number: str


BY_HAND = Remedies(
    absent="start the same command there",
    port="choose another port",
    cluster="give all workers the same addresses in the same order, and each cluster ports of its "
    "own",
    number="start each worker with its own number, and at its own address",
)
# Whose ports and numbers nobody chooses.
OTHER_PORTS = (
    "start another job, whose SLURM_JOB_ID gives it other ports, or choose them by --cluster and "
    "--worker $SLURM_PROCID"
)
IN_ORDER = (
    "start the step with srun --distribution=block, which puts its tasks where they are sought"
)
OF_SLURM = Remedies(
    absent=f"see what its tasks have said, or {IN_ORDER}",
    port=OTHER_PORTS,
    cluster=OTHER_PORTS,
    number=IN_ORDER,
)


def _remedies(worker: Worker) -> Remedies:
    return OF_SLURM if worker.is_of_slurm else BY_HAND


def cluster_strategy(worker: Worker, timeout: float) -> tf.distribute.Strategy:
    """Return the strategy of a cluster, once all workers are there.

    To be called before TensorFlow touches a device. A worker that ends after it was seen here, and
    before TensorFlow has connected it, leaves the others waiting: their processes end after the
    time-out, or 300 s if that is more, with the stack instead of a line.

    Args:
        worker: This one, of several.
        timeout: Seconds to wait.

    Raises:
        UserError: Some did not come, one is another than it should be, or of another cluster, or
            the port is in use.
    """
    wait_for_others(worker, timeout)
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": [*worker.addresses]}),
        task_type="worker",
        task_id=worker.number,
        rpc_layer="grpc",
    )
    # TensorFlow waits for an hour, and Python runs neither threads nor handlers meanwhile.
    faulthandler.dump_traceback_later(max(timeout, CLUSTER_TIMEOUT), exit=True)
    try:
        with signals.as_by_default():
            return tf.distribute.MultiWorkerMirroredStrategy(resolver)
    finally:
        faulthandler.cancel_dump_traceback_later()


def wait_for_others(worker: Worker, timeout: float) -> None:
    """Wait until all workers have answered once, as this one does.

    Who has seen all goes on, and TensorFlow answers in its place.

    Raises:
        UserError: Some did not come, one is another than it should be, or of another cluster, or
            the port is in use.
    """
    end = time.monotonic() + timeout
    missing = [number for number in range(worker.count) if number != worker.number]
    with _answering(worker, end):
        while missing := [number for number in missing if not _answers(worker, number)]:
            if time.monotonic() > end:
                addresses = ", ".join(worker.addresses[number] for number in missing)
                raise UserError(
                    f"{worker}: after {timeout:g} s not all of the cluster was there; no answer "
                    f"from {addresses}: {_remedies(worker).absent}"
                )
            time.sleep(SECONDS_BETWEEN_CALLS)


@contextmanager
def _answering(worker: Worker, end: float) -> Iterator[None]:
    """Tell who calls this worker's number and cluster.

    Calls that are not taken would fill the listener's queue, and then nobody sees this worker.
    """
    is_over = threading.Event()
    with _listening(worker, end) as listener:
        listener.settimeout(SECONDS_BETWEEN_CALLS)
        calls = listener, _greeting(worker, worker.number), is_over
        # A signal may come before `is_over` is set: then it is over with the process.
        thread = threading.Thread(target=_take_calls, args=calls, daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()


def _greeting(worker: Worker, number: int) -> bytes:
    """Return what a worker of this one's cluster says: its number, and a hash of the addresses."""
    return GREETING + b"%d" % number + OF + _cluster(worker)


def _cluster(worker: Worker) -> bytes:
    return sha256(",".join(worker.addresses).encode()).hexdigest()[:16].encode()


def _take_calls(listener: socket.socket, greeting: bytes, is_over: threading.Event) -> None:
    while not is_over.is_set():
        try:
            call, _ = listener.accept()
        except OSError:  # nobody has called, or who did is gone, or it is closed
            if listener.fileno() == -1:
                return
            continue
        with call, suppress(OSError):
            call.sendall(greeting)


def _listening(worker: Worker, end: float) -> socket.socket:
    """Return a listener on the worker's port, once a worker of a former run has left it."""
    port = int(worker.addresses[worker.number].rpartition(":")[2])
    remedy = _remedies(worker).port
    while True:
        try:
            if socket.has_dualstack_ipv6():
                return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
            return socket.create_server(("", port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise UserError(
                    f"{worker} cannot listen on port {port} ({error}): {remedy}"
                ) from None
            if time.monotonic() > end:
                raise UserError(
                    f"{worker} cannot listen on port {port} ({error}): another process uses it, "
                    f"perhaps a worker of a run that is ending: end it, or {remedy}"
                ) from None
        time.sleep(SECONDS_BETWEEN_CALLS)


def _answers(worker: Worker, number: int) -> bool:
    """Return whether another worker answers, or TensorFlow, which says nothing of the kind.

    Raises:
        UserError: It says that it is another one, or of another cluster.
    """
    host, _, port = worker.addresses[number].rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=SECONDS_OF_A_CALL) as call:
            if call.getsockname() == call.getpeername():  # a free port of this machine, by chance
                return False
            try:
                said = call.recv(64)
            except TimeoutError:
                said = b""
    except OSError:
        return False
    if said.startswith(GREETING) and said != _greeting(worker, number):
        mistake = _mistake(worker, number, said)
        raise UserError(f"{worker}: at {worker.addresses[number]} is {mistake}")
    return True


def _mistake(worker: Worker, number: int, said: bytes) -> str:
    """Return who has answered in the place of a worker, and what to do."""
    found, _, cluster = said.removeprefix(GREETING).partition(OF)
    if cluster != _cluster(worker):
        return f"a worker of another cluster: {_remedies(worker).cluster}"
    name = found.decode(errors="replace")
    return f"worker {name}, not worker {number}: {_remedies(worker).number}"
