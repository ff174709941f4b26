"""Several processes: which one this is, what is shared among them, and that they equal one."""

import contextlib
import errno
import json
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.train.loop.cluster_steps import KINDS, LONG, numbers_of_kind, weights_after_steps
from train.common.errors import UserError
from train.common.signals import Interrupted
from train.data.datasets.registry import SCENES
from train.loop import cluster
from train.loop.cluster import (
    ALONE,
    STOPS_FOR_ANOTHER,
    Worker,
    find_worker,
    lost_worker,
    only_first_prints,
)
from train.loop.cluster_start import cluster_strategy, wait_for_others
from train.loop.distribution import choose_strategy
from train.loop.evaluation import evaluate

ROOT = Path(__file__).parents[3]
ADDRESSES = ("a:1", "b:2", "c:3")


def free_addresses(count=2):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("localhost", 0))
    addresses = [f"localhost:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return addresses


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch):
    for name in ("TF_CONFIG", "SLURM_STEP_NUM_TASKS", "SLURM_JOB_ID", "SLURM_STEP_ID"):
        monkeypatch.delenv(name, raising=False)


def tf_config(monkeypatch, **parts):
    monkeypatch.setenv("TF_CONFIG", json.dumps(parts))


def test_mostly_there_is_one_process():
    assert find_worker() == ALONE
    assert (ALONE.count, ALONE.is_first) == (1, True)
    assert find_worker("a:1", 0) == ALONE


def test_a_list_names_the_workers():
    worker = find_worker("a:1,b:2,c:3", 2)
    assert worker == Worker(2, ADDRESSES)
    assert (worker.count, worker.is_first, str(worker)) == (3, False, "worker 2 (c:3)")


def test_tf_config_names_them(monkeypatch):
    workers = {"worker": [*ADDRESSES]}
    tf_config(monkeypatch, cluster=workers, task={"type": "worker", "index": 1})
    assert find_worker() == Worker(1, ADDRESSES)


def test_a_chief_is_the_first(monkeypatch):
    workers = {"chief": ["a:1"], "worker": ["b:2", "c:3"]}
    tf_config(monkeypatch, cluster=workers, task={"type": "worker", "index": 1})
    assert find_worker() == Worker(2, ADDRESSES)
    tf_config(monkeypatch, cluster=workers, task={"type": "chief", "index": 0})
    assert find_worker() == Worker(0, ADDRESSES)


@pytest.mark.parametrize(
    ("nodes", "tasks", "addresses"),
    [
        ("node[1-2]", "2,1", "node1:0 node1:1 node2:0"),
        ("node[9-10]", "1,2", "node9:0 node10:0 node10:1"),
        (
            "node[98-100],login",
            "1(x3),2",
            "node98:0 node99:0 node100:0 login:0 login:1",
        ),
        ("b[07,009-010],a", "1(x4)", "b07:0 b009:0 b010:0 a:0"),
        ("b-1,a-1", "3,1", "b-1:0 b-1:1 b-1:2 a-1:0"),
    ],
)
def test_slurm_names_them_in_the_order_of_its_nodes(monkeypatch, nodes, tasks, addresses):
    """Here with the place of each address among the ports of its node."""
    addresses = [address.split(":") for address in addresses.split()]
    worker = of_slurm(
        monkeypatch,
        SLURM_PROCID=2,
        SLURM_STEP_NUM_TASKS=len(addresses),
        SLURM_STEP_NODELIST=nodes,
        SLURM_STEP_TASKS_PER_NODE=tasks,
        SLURM_JOB_ID=355 + 2,
    )
    expected = [f"{node}:{10000 + 2 * 64 + int(place)}" for node, place in addresses]
    assert worker == Worker(2, tuple(expected), is_of_slurm=True)


def of_slurm(monkeypatch, **variables):
    """Return the worker that Slurm's variables name; of two on two nodes, but for `variables`."""
    two = {
        "SLURM_PROCID": 0,
        "SLURM_STEP_NUM_TASKS": 2,
        "SLURM_STEP_NODELIST": "node[1-2]",
        "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
    }
    for name, value in {**two, **variables}.items():
        monkeypatch.setenv(name, str(value))
    return find_worker()


def test_jobs_and_steps_of_slurm_on_one_node_have_ports_of_their_own(monkeypatch):
    """And all tasks of a step the same."""
    jobs = [(7, 0), (7, 1), (7, 2), (8, 0), (8, 1), (100, 0), (4_000_000_000, 4_294_967_291)]
    found = []
    for job, step in jobs:
        variables = {"SLURM_JOB_ID": job, "SLURM_STEP_ID": step}
        first, second = (of_slurm(monkeypatch, SLURM_PROCID=n, **variables) for n in (0, 1))
        assert first.addresses == second.addresses
        found.append(int(first.addresses[0].rpartition(":")[2]))
    distances = np.diff(sorted(found))
    assert distances.min() >= 64
    assert min(found) >= 10000
    assert max(found) + 64 <= 32768


def test_a_job_of_slurm_that_is_no_number_is_named(monkeypatch):
    with pytest.raises(UserError, match="of a step of Slurm's: .*'seven'; unset it to train alone"):
        of_slurm(monkeypatch, SLURM_JOB_ID="seven")


OTHER_PORTS = (
    r"start another job, whose SLURM_JOB_ID .* or choose them by --cluster and --worker \$"
)


def test_a_step_of_slurm_that_lacks_its_port_or_a_task_is_told_what_it_can_do():
    here, there = free_addresses(2)
    worker = Worker(0, (here, there), is_of_slurm=True)
    with listen(here), pytest.raises(UserError, match=f"in use.*: end it, or {OTHER_PORTS}"):
        wait_for_others(worker, timeout=0.3)
    with pytest.raises(UserError, match=f"no answer from {there}: see .*--distribution=block"):
        wait_for_others(worker, timeout=0.3)


def test_a_step_of_slurm_that_finds_another_task_is_told_what_it_can_do():
    """Of another job, or of its own that is on another node."""
    here, there, elsewhere = free_addresses(3)
    with waiting(Worker(0, (there, elsewhere))):
        time.sleep(0.2)
        with pytest.raises(UserError, match=f"a worker of another cluster: {OTHER_PORTS}"):
            wait_for_others(Worker(0, (here, there), is_of_slurm=True), timeout=2)
    again = here.replace("localhost", "127.0.0.1")
    with pytest.raises(UserError, match="not worker 1: start the step with srun --distribution="):
        wait_for_others(Worker(0, (here, again), is_of_slurm=True), timeout=2)


def test_slurm_without_all_of_its_variables_is_one_line(monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    with pytest.raises(UserError, match="SLURM_PROCID.*; unset it to train alone"):
        find_worker()


@pytest.mark.parametrize("parts", [{}, {"cluster": {}, "task": {}}])
def test_a_configuration_without_a_cluster_is_of_one_process(monkeypatch, parts):
    tf_config(monkeypatch, **parts)
    assert find_worker() == ALONE


@pytest.mark.parametrize(
    ("addresses", "number", "message"),
    [
        ("a:1,b", 0, "--cluster must be host:port of each worker; got b"),
        ("a:1,", 0, "--cluster must be host:port"),
        ("a:1,b:0", 0, "--cluster must be host:port of each worker; got b:0"),
        ("a:1,b:65536", 0, "--cluster must be host:port of each worker; got b:65536"),
        ("a:1,a:1", 0, "--cluster names a worker twice"),
        ("a:1,b:2", 2, "--worker must be from 0 to 1; got 2"),
        ("a:1,b:2", None, "--worker must be from 0 to 1; got None"),
        (None, 1, "--worker says which of --cluster this is: give both"),
    ],
)
def test_mistakes_are_named(addresses, number, message):
    with pytest.raises(UserError, match=message):
        find_worker(addresses, number)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"cluster": {"worker": ["a:1"]}}', '{"cluster": {"ps": []}, "task": {}}']
)
def test_a_tf_config_that_means_nothing_is_named(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match="TF_CONFIG must be like"):
        find_worker()


def test_addresses_of_a_tf_config_that_are_no_texts_are_named(monkeypatch):
    tf_config(monkeypatch, cluster={"worker": [1, 2]}, task={"type": "worker", "index": 0})
    with pytest.raises(UserError, match="TF_CONFIG must be host:port of each worker; got 1, 2"):
        find_worker()


def test_replicas_are_not_asked_for_in_a_cluster():
    with pytest.raises(UserError, match=r"trainer\.replicas must be null in a cluster"):
        choose_strategy(2, Worker(0, ADDRESSES))


@pytest.mark.parametrize("number", [0, 1])
def test_who_waits_for_workers_that_are_not_there_says_so(number):
    addresses = free_addresses()
    message = f"no answer from {addresses[1 - number]}: start the same command there"
    with pytest.raises(UserError, match=message):
        cluster_strategy(Worker(number, tuple(addresses)), timeout=0.1)


def listen(address):
    return socket.create_server(("localhost", int(address.rpartition(":")[2])))


def test_workers_wait_until_all_are_there():
    """Each comes later than the one before, and listens on when it has seen all."""
    addresses = tuple(free_addresses(3))
    workers = [Worker(number, addresses) for number in range(3)]

    def come(worker):
        time.sleep(0.3 * worker.number)
        wait_for_others(worker, timeout=20)
        with listen(worker.addresses[worker.number]):  # TensorFlow, which says nothing
            time.sleep(3)
        return worker.number

    with ThreadPoolExecutor(3) as pool:
        assert [*pool.map(come, workers)] == [0, 1, 2]


@contextlib.contextmanager
def waiting(worker):
    """Let a worker wait for others that never come, and raise what it says of it."""
    with ThreadPoolExecutor(1) as pool:
        waited = pool.submit(wait_for_others, worker, 2)
        yield
        with pytest.raises(UserError, match="not all of the cluster was there"):
            waited.result()


def test_a_worker_that_waits_long_still_answers():
    """The system holds 128 calls that are not taken, and no more."""
    addresses = tuple(free_addresses(2))
    host, port = addresses[0].split(":")
    with waiting(Worker(0, addresses)):
        time.sleep(0.2)
        for _ in range(200):
            with socket.create_connection((host, int(port)), timeout=1) as call:
                assert call.recv(64).startswith(b"tfsegloss worker 0 of ")


def test_a_signal_as_the_waiting_begins_leaves_no_thread(monkeypatch):
    started = []

    def start(thread):
        original(thread)
        started.append(thread)
        raise KeyboardInterrupt

    original = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(KeyboardInterrupt):
        wait_for_others(Worker(0, tuple(free_addresses())), timeout=2)
    (thread,) = started
    assert thread.daemon
    thread.join(5)
    assert not thread.is_alive()


def test_two_workers_of_one_number_are_named():
    """Here it is the same one, at another name of its address."""
    (here,) = free_addresses(1)
    there = here.replace("localhost", "127.0.0.1")
    message = rf"worker 0 \({here}\): at {there} is worker 0, not worker 1: start each worker"
    with pytest.raises(UserError, match=message):
        wait_for_others(Worker(0, (here, there)), timeout=2)


@pytest.mark.parametrize("number", [0, 1])
def test_a_worker_of_another_cluster_is_named(number):
    """Whose number may be the same; it never hears of this one."""
    here, there, elsewhere = free_addresses(3)
    theirs = (elsewhere, there) if number else (there, elsewhere)
    with waiting(Worker(number, theirs)):
        time.sleep(0.2)
        message = rf"worker 0 \({here}\): at {there} is a worker of another cluster: give all"
        with pytest.raises(UserError, match=message):
            wait_for_others(Worker(0, (here, there)), timeout=2)


def test_a_port_in_use_is_named():
    here, there = free_addresses(2)
    with listen(here), pytest.raises(UserError, match=r"cannot listen on port \d+ \(.*in use"):
        wait_for_others(Worker(0, (here, there)), timeout=0.3)


def test_a_port_that_is_not_allowed_is_named_at_once(monkeypatch):
    def create_server(*_arguments, **_options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket, "create_server", create_server)
    began = time.monotonic()
    message = r"worker 0 \(a:1\) cannot listen on port 1 \(.*Permission denied\): choose another"
    with pytest.raises(UserError, match=message):
        wait_for_others(Worker(0, ADDRESSES), timeout=20)
    assert time.monotonic() < began + 5


def test_a_port_that_becomes_free_is_taken():
    here, there = free_addresses(2)
    former = listen(here)
    with ThreadPoolExecutor(1) as pool, listen(there):
        waited = pool.submit(wait_for_others, Worker(0, (here, there)), 10)
        time.sleep(0.5)
        assert not waited.done()
        former.close()
        waited.result()


def test_a_lost_worker_is_named():
    error = tf.errors.UnavailableError(
        None, None, "Collective ops is aborted by: /job:worker/replica:0/task:2\nMore of it"
    )
    said = str(lost_worker(error, Worker(0, ADDRESSES)))
    assert said.startswith("worker 2 (c:3) is gone, so worker 0 (a:1) stops: the same command")
    assert said.endswith("(TensorFlow: Collective ops is aborted by: /job:worker/replica:0/task:2)")
    assert STOPS_FOR_ANOTHER.search(said)
    assert lost_worker(error, ALONE) is None
    other = tf.errors.InvalidArgumentError(None, None, "wrong ids")
    assert lost_worker(other, Worker(0, ADDRESSES)) is None


def test_nobody_is_said_to_be_gone_who_is_not_named():
    error = tf.errors.UnavailableError(None, None, "Socket closed, seen by /task:0")
    said = str(lost_worker(error, Worker(0, ADDRESSES)))
    assert said.startswith("the cluster has failed, so worker 0 (a:1) stops: the same command")
    assert "Socket closed" in said


def test_only_the_first_prints(capsys):
    for number in (0, 1):
        with only_first_prints(Worker(number, ADDRESSES)):
            print(f"of {number}")
    assert capsys.readouterr().out == "of 0\n"


def brightness(images):
    return tf.cast(tf.reduce_sum(images, axis=-1) % 11, tf.uint8)


def test_workers_and_batches_score_what_one_does_alone(train_samples):
    """Six images of one size: two workers, who classify two at once or all."""
    alone, seen_alone = score(train_samples)
    for pixels in (2 * 48 * 64, 10**9):
        found = [score(train_samples, pixels, Worker(n, ("a:1", "b:2"))) for n in (0, 1)]
        (first, seen), (second, more) = found
        np.testing.assert_array_equal(first.matrix + second.matrix, alone.matrix)
        assert [number for number, _ in seen] == [0, 2, 4]
        assert sorted([*seen, *more]) == seen_alone
    assert first.images == 6


def test_an_evaluation_ends_where_another_worker_was_told_to_stop(train_samples):
    with pytest.raises(Interrupted):
        score(train_samples, worker=Worker(0, ("a:1", "b:2")), total=np.ones_like)


def score(samples, batch_pixels=0, worker=ALONE, **options):
    seen = []
    scores = evaluate(
        brightness,
        samples,
        SCENES,
        lambda number, image, ids, predicted: seen.append((number, int(predicted.sum()))),
        batch_pixels=batch_pixels,
        worker=worker,
        **options,
    )
    return scores, seen


def test_a_worker_without_an_image_scores_nothing(train_samples):
    scores, seen = score(train_samples, worker=Worker(6, tuple("abcdefg")))
    assert (scores.matrix.sum(), seen) == (0, [])


def test_devices_get_the_statistics_of_the_first(two_replicas):
    """As batch normalization that is not synchronized leaves them."""
    with two_replicas.scope():
        variables = [tf.Variable([0.0, 0.0]), tf.Variable(0.0)]

    def differ():
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        for variable in variables:
            variable.assign(tf.fill(variable.shape, 1.0 + tf.cast(number, tf.float32)))

    two_replicas.run(tf.function(differ))
    cluster.share_first(two_replicas, ALONE, variables)
    for variable in variables:
        for local in two_replicas.experimental_local_results(variable):
            assert np.all(local.numpy() == 1.0)


def start_steps(what, path):
    """Start two processes of `cluster_steps`, the first of which writes a file of numbers."""
    addresses = ",".join(free_addresses())
    module = "tests.train.loop.cluster_steps"
    return [
        subprocess.Popen(
            [sys.executable, "-m", module, what, addresses, str(number), str(path)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in (1, 0)
    ]


def wait_for(processes):
    for process in processes:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output


@pytest.mark.slow
@pytest.mark.usefixtures("without_clusters")
def test_two_processes_equal_one_and_two_replicas(tmp_path, two_replicas, float64):
    """Ten steps by cross-entropy, RMI, SSL and LMP, one by each other loss; see `batches`."""
    path = tmp_path / "weights.npz"
    processes = start_steps("losses", path)
    alone = weights_after_steps(tf.distribute.get_strategy(), tmp_path / "one")
    replicas = weights_after_steps(two_replicas, tmp_path / "two")
    wait_for(processes)
    with np.load(path) as of_processes:
        assert set(of_processes) == set(alone) == set(replicas)
        assert {name.split(" ")[0] for name in alone} > set(LONG)
        for name, expected in alone.items():
            for found in (of_processes[name], replicas[name]):
                np.testing.assert_allclose(found, expected, atol=1e-6, err_msg=name)


@pytest.fixture(scope="module")
def of_kinds(tmp_path_factory):
    """Return the numbers that two processes find for each kind of step."""
    path = tmp_path_factory.mktemp("kinds") / "numbers.npz"
    wait_for(start_steps("kinds", path))
    return np.load(path)


@pytest.mark.slow
@pytest.mark.usefixtures("without_clusters")
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_take_steps_of_every_kind_as_two_replicas(
    of_kinds, tmp_path, two_replicas, kind
):
    expected = numbers_of_kind(kind, two_replicas, tmp_path)
    names = {name.removeprefix(f"{kind} ") for name in of_kinds if name.startswith(kind)}
    assert names == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(of_kinds[f"{kind} {name}"], value, atol=1e-5, err_msg=name)
    if kind == "float16":
        assert 0 < expected["skipped_steps"] < 8
    if kind == "sampling":
        assert len(np.unique(expected["sampling"])) == len(expected["sampling"])
