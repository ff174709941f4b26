"""Two logical CPUs for every test, before TensorFlow starts."""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The tests compare numbers that GPUs round differently, in several processes at once: the CPU, for
# the processes they start too. Only the test of the GPU itself asks for it again.
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import pytest
import tensorflow as tf

from tests import keras_versions
from tfsegloss.core.keras_versions import IS_KERAS_2, keras
from tfsegloss.kernels import xla

if not IS_KERAS_2:  # under which the training kit is not there
    from tests.train import small_network
    from train.data.datasets import scenes

REPLICAS = ("CPU:0", "CPU:1")
# A test that is neither `full` nor `slow` is one of those a stranger waits for.
WANTED_CPU_SECONDS = 5
# Machines differ by a factor, and the same one from day to day: only twice as much fails.
MOST_CPU_SECONDS = 2 * WANTED_CPU_SECONDS


def pytest_addoption(parser):
    parser.addoption("--unhurried", action="store_true", help="fast tests may take any time")
    parser.addoption(
        "--keras-3-python",
        default=sys.executable,
        help="of an environment with Keras 3, for tests under Keras 2 that need its files",
    )


def pytest_configure(config):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration() for _ in REPLICAS]
    )


def pytest_collection_modifyitems(items):
    """Under Keras 2, skip what cannot exist there, each with its reason."""
    if IS_KERAS_2:
        for item in items:
            if reason := keras_versions.why_missing(item.nodeid):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Name a fast test that takes long, fail one far beyond; its fixtures are not counted."""
    before = _cpu_seconds()
    yield
    spent = _cpu_seconds() - before
    unhurried = item.config.getoption("--unhurried") or any(
        item.get_closest_marker(name) for name in ("full", "slow")
    )
    if spent <= WANTED_CPU_SECONDS or unhurried:
        return
    message = (
        f"{item.nodeid}: {spent:.1f} CPU-seconds, {WANTED_CPU_SECONDS} are wanted; "
        "a smaller case, or mark it full"
    )
    if spent > MOST_CPU_SECONDS:
        pytest.fail(message)
    item.warn(pytest.PytestWarning(message))


def _cpu_seconds():
    """Of this process, its threads, and its children that have ended."""
    return sum(os.times()[:4])


@pytest.fixture(scope="module", autouse=True)
def _clear_session():
    """Keras' and TensorFlow's memory of a module's graphs; workers would grow to gigabytes."""
    yield
    keras.backend.clear_session()


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def two_replicas():
    return tf.distribute.MirroredStrategy(REPLICAS)


@pytest.fixture
def float64():
    """Keras in float64 for one test."""
    keras_versions.set_floatx("float64")
    keras_versions.set_dtype_policy("float64")
    yield
    keras_versions.set_floatx("float32")
    keras_versions.set_dtype_policy("float32")


@pytest.fixture(scope="session")
def scenes_root(tmp_path_factory):
    """Return a small dataset of scenes on disk."""
    root = tmp_path_factory.mktemp("data") / "scenes"
    scenes.write(root, train=6, val=3, height=48, width=64)
    return root


@pytest.fixture(scope="session")
def trained_run(scenes_root, tmp_path_factory):
    """Return the folder of a small network's run on the scenes."""
    return small_network.fit(tmp_path_factory.mktemp("runs") / "run", scenes_root)


@pytest.fixture
def small_networks():
    """Build the small network in the place of every other, as `trained_run` does."""
    with small_network.small_networks():
        yield


@pytest.fixture
def without_clusters(monkeypatch):
    """Losses in graphs without clusters of their own, which take seconds to compile."""
    monkeypatch.setattr(xla, "is_worth_compiling", lambda arguments: False)
