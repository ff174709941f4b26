"""Several processes that train together, on one machine or many."""

import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from train.common.errors import LostWorkerError, UserError

TF_CONFIG = "TF_CONFIG"
# What Slurm sets for each process of a step.
SLURM_TASKS = "SLURM_STEP_NUM_TASKS"
SLURM_NODES = "SLURM_STEP_NODELIST"
SLURM_JOB, SLURM_STEP = "SLURM_JOB_ID", "SLURM_STEP_ID"
# Of each step's first task on a node, where steps of several jobs may be; below the ports from
# 32768 that Linux gives to whoever asks for any.
SLURM_PORTS = range(10000, 32700, 64)
# A job's second step should not meet the next job's first.
PORTS_BETWEEN_STEPS = 97
# Of Slurm's lists of nodes, such as "login,node[9-10,12]": a name, or its beginning and numbers.
NODES = re.compile(r"([^,\[\]]+)(?:\[([^\]]*)\])?")
ADDRESS = re.compile(r"[^\s:,/]+:\d{1,5}")
MOST_PORT = 65535
# In the line of a worker that ends because of another one.
STOPS_FOR_ANOTHER = re.compile(r", so worker \d+ \(\S+\) stops")
# Others find within a minute that a worker is gone; what it says should be there by then.
SECONDS_TO_EXPLAIN = 20.0


class Worker(NamedTuple):
    """One of the processes that train together; the first writes the run's folder.

    Args:
        number: Which, from 0.
        addresses: Of all of them, host:port; none where there is only one.
        is_of_slurm: Whether Slurm's variables say so.
    """

    number: int = 0
    addresses: tuple[str, ...] = ()
    is_of_slurm: bool = False

    @property
    def count(self) -> int:
        """How many there are."""
        return max(len(self.addresses), 1)

    @property
    def is_first(self) -> bool:
        """Whether this one writes and prints."""
        return self.number == 0

    @property
    def seconds_to_explain(self) -> float:
        """How long to look for the cause of an error, while the others wait for this one."""
        return math.inf if self.count == 1 else SECONDS_TO_EXPLAIN

    def stops(self, because: str) -> str:
        """Say that it stops because of another one."""
        return f"{because}, so {self} stops"

    def __str__(self) -> str:
        """Return its number and address."""
        return f"worker {self.number} ({self.addresses[self.number]})"


# The one process that there mostly is.
ALONE = Worker()


def find_worker(cluster: str | None = None, number: int | None = None) -> Worker:
    """Return which process this is: of a list, of `TF_CONFIG`, of a step of Slurm's, or alone.

    Args:
        cluster: "host:port,host:port,…", of all workers.
        number: Which of them this is.

    Raises:
        UserError: What is wrong with the list, the number, or the variable.
    """
    if cluster is not None:
        return _checked("--cluster", cluster.split(","), "--worker", number)
    if number is not None:
        raise UserError("--worker says which of --cluster this is: give both")
    if os.environ.get(TF_CONFIG):
        return _of_tf_config(os.environ[TF_CONFIG])
    return ALONE if os.environ.get(SLURM_TASKS, "1") == "1" else _of_slurm()


def _of_tf_config(text: str) -> Worker:
    try:
        config = json.loads(text)
        if not config.get("cluster"):  # some job systems set it for single processes too
            return ALONE
        cluster, task = config["cluster"], config["task"]
        # A chief is the first worker, by an older name.
        addresses = [*cluster.get("chief", []), *cluster.get("worker", [])]
        number = int(task["index"]) + (len(cluster.get("chief", [])) * (task["type"] == "worker"))
        known = set(cluster) <= {"chief", "worker"} and task["type"] in cluster
    except (ValueError, TypeError, KeyError, AttributeError):
        known = False
    if not known:
        raise UserError(
            f'{TF_CONFIG} must be like {{"cluster": {{"worker": ["host:port", …]}}, "task": '
            f'{{"type": "worker", "index": 0}}}}; got {text}'
        )
    return _checked(TF_CONFIG, addresses, f"the index of {TF_CONFIG}", number)


def _of_slurm() -> Worker:
    """Return the worker that Slurm's variables name; a task's GPUs are those that Slurm gives it.

    Raises:
        UserError: Some of the variables are missing or wrong.
    """
    try:
        # The number of GPUs is for the resolver's sharing alone, and without it it looks for them.
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=_slurm_port(), auto_set_gpu=False, gpus_per_node=int(os.environ[SLURM_TASKS])
        )
        addresses = resolver.cluster_spec().as_dict()["worker"]
        # The resolver has them in the order of text, node10 before node9.
        nodes = _nodes_in_order(os.environ[SLURM_NODES])
        addresses.sort(key=lambda address: nodes.index(address.rpartition(":")[0]))
    except (RuntimeError, ValueError, KeyError) as error:
        raise UserError(
            f"{SLURM_TASKS} says that this is one of several processes of a step of Slurm's: "
            f"{error}; unset it to train alone"
        ) from None
    return Worker(resolver.task_id, tuple(addresses), is_of_slurm=True)


def _slurm_port() -> int:
    """Return the port of the first task on each node, the same for all tasks of a step.

    Raises:
        ValueError: The job or the step is not a number.
    """
    job, step = (int(os.environ.get(name) or 0) for name in (SLURM_JOB, SLURM_STEP))
    return SLURM_PORTS[(job + PORTS_BETWEEN_STEPS * step) % len(SLURM_PORTS)]


def _nodes_in_order(nodes: str) -> list[str]:
    """Return the nodes of a list of Slurm's in its order, which the numbers of tasks follow.

    Args:
        nodes: The list, which TensorFlow's resolver has read without an error.
    """
    names = []
    for beginning, numbers in NODES.findall(nodes):
        for part in numbers.split(","):
            first, _, last = part.partition("-")
            span = range(int(first), int(last or first) + 1) if first else [""]
            names += [f"{beginning}{str(number).zfill(len(first))}" for number in span]
    return names


def _checked(what: str, addresses: Sequence[str], which: str, number: int | None) -> Worker:
    """Return the worker.

    Raises:
        UserError: An address or the number is wrong.
    """
    wrong = [address for address in addresses if not _is_address(address)]
    if wrong or not addresses:
        got = ", ".join(map(str, wrong)) or None
        raise UserError(f"{what} must be host:port of each worker; got {got}")
    if len(set(addresses)) < len(addresses):
        raise UserError(f"{what} names a worker twice: {', '.join(addresses)}")
    if number is None or not 0 <= number < len(addresses):
        raise UserError(f"{which} must be from 0 to {len(addresses) - 1}; got {number}")
    return Worker(number, tuple(addresses)) if len(addresses) > 1 else ALONE


def _is_address(value: object) -> bool:
    if not (isinstance(value, str) and ADDRESS.fullmatch(value)):
        return False
    return 0 < int(value.rpartition(":")[2]) <= MOST_PORT


def sum_over_workers(
    strategy: tf.distribute.Strategy, worker: Worker, value: np.ndarray | float
) -> np.ndarray | float:
    """Return the sum of a value over the workers, who all call this; exact where sums are.

    Args:
        strategy: Of the cluster.
        worker: This one.
        value: Of this worker, of the same shape on all.
    """
    if worker.count == 1:
        return value
    local = strategy.num_replicas_in_sync // worker.count
    values = strategy.experimental_distribute_values_from_function(
        # Once for each worker, however many devices it has.
        lambda context: tf.constant(
            value if context.replica_id_in_sync_group % local == 0 else np.zeros_like(value),
            tf.float64,
        )
    )
    return strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None).numpy()


def share_first(
    strategy: tf.distribute.Strategy, worker: Worker, variables: Sequence[tf.Variable]
) -> None:
    """Give variables on all devices of all workers the values of the first device.

    Args:
        strategy: In whose scope they were made.
        worker: This one; all call this.
        variables: Such as statistics that each device gathers by itself.
    """
    if strategy.num_replicas_in_sync == 1 or not variables:
        return
    values = [variable.numpy() for variable in variables]
    flat = np.concatenate([np.ravel(value) for value in values]).astype(np.float64)
    # Not a product: what is not finite elsewhere would reach all.
    flat = sum_over_workers(strategy, worker, flat if worker.is_first else np.zeros_like(flat))
    ends = np.cumsum([value.size for value in values])
    for variable, value, part in zip(variables, values, np.split(flat, ends[:-1]), strict=True):
        variable.assign(part.reshape(value.shape).astype(value.dtype))


def wait_for_all(strategy: tf.distribute.Strategy, worker: Worker) -> None:
    """Wait until all workers have come here."""
    sum_over_workers(strategy, worker, 0.0)


def lost_worker(error: Exception, worker: Worker) -> LostWorkerError | None:
    """Return what to say where an error of TensorFlow's means that a worker is gone; else None.

    It may mean that the connection has failed; a worker is said to be gone where one is named.

    Args:
        error: The error.
        worker: This one.
    """
    text = str(error)
    lost = "Collective ops is aborted" in text or "unhealthy" in text or "heartbeat" in text
    if worker.count == 1 or not (lost or isinstance(error, tf.errors.UnavailableError)):
        return None
    tasks = {int(number) for number in re.findall(r"/task:(\d+)", text)} - {worker.number}
    gone = [str(Worker(number, worker.addresses)) for number in sorted(tasks)]
    because = f"{', '.join(gone)} is gone" if gone else "the cluster has failed"
    said = text.strip().partition("\n")[0]
    return LostWorkerError(
        f"{worker.stops(because)}: the same command on all workers goes on from the last "
        f"checkpoint (TensorFlow: {said})"
    )


@contextmanager
def only_first_prints(worker: Worker) -> Iterator[None]:
    """Let what all workers print be seen once; errors are seen of each."""
    if worker.is_first:
        yield
        return
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        yield
