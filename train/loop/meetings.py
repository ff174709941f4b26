"""Where in a loop all workers ask each other whether one of them must stop."""

import signal
import time
from collections.abc import Callable

import numpy as np

from train.common import signals
from train.loop.cluster import ALONE, Worker

# Who is told to stop waits so long for the next meeting: a second of steps, or one step.
SECONDS = 1.0
# However fast steps are: a slow one may come, and nobody is heard until the next meeting.
MOST_BETWEEN = 100


class Meetings:
    """Points of a loop, a second apart, where workers look up from their work, all at the same one.

    There they ask each other for signals, and read the loss, which waits for the device. Asking
    costs a round trip between machines, too much for every step. By their clocks each would do so
    after another step: so they agree each time on the next, by how long the last steps took all.
    A process that is alone goes by its clock, and looks for signals at each step.

    Args:
        worker: One of those that meet.
        total: Returns the sum of an array over the workers; all call it.
        first: The number of the step, or of the image, of the first meeting.
    """

    def __init__(
        self,
        worker: Worker = ALONE,
        total: Callable[[np.ndarray], np.ndarray] = lambda array: array,
        first: int = 1,
    ):
        self._worker, self._total = worker, total
        self._next, self._between = first, 1
        self._time = -np.inf
        self._caught_by_any = False

    def reached(self, done: int) -> bool:
        """Hold the meetings up to a number of steps or images; return whether there was one.

        Workers may pass by a meeting's number, each at another one of its own, as long as all pass
        by the same meetings in the end.

        Args:
            done: How many this worker has done.
        """
        if self._worker.count == 1:
            is_due = time.monotonic() - self._time >= SECONDS
        else:
            is_due = done >= self._next
            # Who was told to stop comes to no other meeting.
            while done >= self._next and not self._caught_by_any:
                self._meet()
        if is_due:
            self._time = time.monotonic()
        return is_due

    def _meet(self) -> None:
        """Ask for signals, and agree on the next meeting: at most twice as far as the last."""
        elapsed = time.monotonic() - self._time
        caught, seconds = self._total(np.array([float(signals.is_caught()), elapsed]))
        self._caught_by_any = caught > 0
        rate = SECONDS * self._worker.count / max(seconds, 1e-9)
        self._between = min(max(1, int(self._between * min(rate, 2.0))), MOST_BETWEEN)
        self._next += self._between
        self._time = time.monotonic()

    def raise_caught(self) -> None:
        """Raise what ends the loop: a signal that was caught here, or by another worker.

        Raises:
            KeyboardInterrupt: A signal was caught; of workers all raise, at the same meeting.
        """
        if self._worker.count == 1:
            signals.raise_caught()
        elif self._caught_by_any:
            signals.raise_caught()
            words = self._worker.stops("another worker was told to stop")
            raise signals.Interrupted(signal.SIGTERM, is_second=False, words=words)
