"""Where workers meet: all at the same points, whatever each one's clock says."""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from train.common import signals
from train.common.signals import Interrupted
from train.loop import meetings
from train.loop.cluster import Worker
from train.loop.meetings import Meetings

ADDRESSES = ("a:1", "b:2")


class Cluster:
    """Two workers, threads, that wait for each other where they take a sum."""

    def __init__(self):
        self._own = threading.local()
        self._barrier = threading.Barrier(2, timeout=10)
        self._values = [None, None]
        self.told_to_stop = set()
        self.sums = [0, 0]

    def run(self, loop):
        """Return what a function of the meetings and the worker's number returns on each."""

        def work(number):
            self._own.number = number
            return loop(Meetings(Worker(number, ADDRESSES), self._total), number)

        with ThreadPoolExecutor(2) as pool:
            return [*pool.map(work, range(2))]

    def _total(self, value):
        self._values[self._own.number] = value
        self.sums[self._own.number] += 1
        self._barrier.wait()
        total = sum(self._values)
        self._barrier.wait()
        return total

    def is_caught(self):
        return self._own.number in self.told_to_stop

    def raise_caught(self):
        if self.is_caught():
            raise Interrupted(signal.SIGINT, is_second=False)


@pytest.fixture
def cluster(monkeypatch):
    """Give each thread signals of its own, and let meetings be a hundredth of a second apart."""
    cluster = Cluster()
    monkeypatch.setattr(signals, "is_caught", cluster.is_caught)
    monkeypatch.setattr(signals, "raise_caught", cluster.raise_caught)
    monkeypatch.setattr(meetings, "SECONDS", 0.01)
    return cluster


def test_workers_of_unlike_speed_look_after_the_same_steps(cluster):
    """As they must, to end at the same step where the loss is not finite."""

    def loop(meetings, number):
        looks = []
        for step in range(1, 101):
            time.sleep(0.001 * number)
            if meetings.reached(step):
                looks.append(step)
        return looks

    first, second = cluster.run(loop)
    assert first == second
    assert first[0] == 1
    assert 3 < len(first) < 100


def test_workers_that_pass_by_other_images_hold_the_same_meetings(cluster):
    """One classifies single images, the other three at once; and it has one image less."""

    def loop(meetings, number):
        for first in range(0, 49, 3) if number else range(50):
            meetings.reached(first)
        meetings.reached(50)

    cluster.run(loop)
    assert cluster.sums[0] == cluster.sums[1] > 3


@pytest.mark.parametrize("told", [0, 1])
def test_a_signal_to_one_ends_both_after_the_same_step(cluster, told):
    def loop(meetings, number):
        for step in range(1, 1000):
            if step == 5 and number == told:
                cluster.told_to_stop.add(number)
            meetings.reached(step)
            try:
                meetings.raise_caught()
            except Interrupted as stop:
                return step, stop.signal, str(stop)
        return None

    ends = cluster.run(loop)
    assert ends[0][0] == ends[1][0] >= 5
    assert ends[told][1:] == (signal.SIGINT, "interrupted")
    words = f"another worker was told to stop, so {Worker(1 - told, ADDRESSES)} stops"
    assert ends[1 - told][1:] == (signal.SIGTERM, words)


@pytest.mark.parametrize("told", [0, 1])
def test_who_is_done_with_its_images_waits_for_no_meeting_after_a_signal(cluster, told):
    cluster.told_to_stop.add(told)

    def loop(meetings, number):
        for done in [50] if number else range(51):
            meetings.reached(done)
            try:
                meetings.raise_caught()
            except Interrupted:
                return done
        return None

    assert cluster.run(loop) == [1, 50]
    assert cluster.sums == [1, 1]


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(meetings.time, "monotonic", lambda: clock.now)
    return clock


def looks(meetings, clock, steps, seconds):
    """Return the steps, each of so many seconds, after which the workers look."""
    found = []
    for step in steps:
        clock.now += seconds
        if meetings.reached(step):
            found.append(step)
    return found


def test_meetings_come_to_be_a_second_apart(clock):
    meetings = Meetings(Worker(0, ADDRESSES), lambda array: 2 * array, first=1001)
    steps = range(1001, 1041)
    assert looks(meetings, clock, steps, 0.125) == [1001, 1002, 1004, 1008, 1016, 1024, 1032, 1040]
    clock.now += 60  # an evaluation
    assert looks(meetings, clock, range(1041, 1055), 0.125) == [1048, 1049, 1051]


def test_slow_steps_have_a_meeting_each(clock):
    meetings = Meetings(Worker(0, ADDRESSES), lambda array: 2 * array)
    assert looks(meetings, clock, range(1, 9), 1.5) == [*range(1, 9)]


def test_who_is_alone_goes_by_the_clock(clock):
    meetings = Meetings()
    assert looks(meetings, clock, range(1, 25), 0.125) == [1, 9, 17]


def test_who_is_alone_stops_at_once(monkeypatch):
    meetings = Meetings()
    meetings.reached(1)
    stop = Interrupted(signal.SIGTERM, is_second=False)
    monkeypatch.setattr(signals._State, "caught", stop)
    with pytest.raises(Interrupted):
        meetings.raise_caught()


def test_nobody_stops_who_was_not_told(cluster):
    cluster.run(lambda meetings, number: [meetings.reached(1), meetings.raise_caught()])
    assert cluster.sums == [1, 1]
