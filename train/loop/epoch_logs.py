"""What the steps of an epoch have to say, kept over a stop."""

import json
import math

import tensorflow as tf

from train.common.errors import NotFiniteError


class EpochLogs(tf.train.experimental.PythonState):
    """What the steps of the running epoch have to say; a part of the checkpoint.

    The losses of the last steps are kept singly until they are read: they say which step was the
    first whose loss is not finite.

    Attributes:
        sums: Of each loss over the steps, float32 `[]` by name.
        learning_rate: That of the epoch's last step, None before it.
    """

    def __init__(self):
        self.clear()

    def clear(self) -> None:
        """Begin an epoch."""
        self.sums: dict[str, tf.Tensor] = {}
        self.learning_rate: float | None = None
        self._unread: list[tf.Tensor] = []

    def add(self, losses: dict[str, tf.Tensor]) -> None:
        """Take in the losses of a step; nobody waits for the device."""
        self.sums = {name: self.sums.get(name, 0.0) + value for name, value in losses.items()}
        self._unread.append(losses["loss"])

    def read(self, count: int, step: int) -> dict[str, float]:
        """Return the means of the losses over a number of steps.

        Args:
            count: Of the epoch's steps so far.
            step: The last one.

        Raises:
            NotFiniteError: A loss is not finite; its step is named.
        """
        means, unread = self.means(count), self._unread
        self._unread = []
        if math.isfinite(means["loss"]):
            return means
        finite = [math.isfinite(loss) for loss in unread]
        first = finite.index(False) if False in finite else 0
        raise NotFiniteError("the loss", step - len(unread) + 1 + first)

    def means(self, count: int) -> dict[str, float]:
        """Return the means of the losses over a number of steps."""
        return {name: float(total) / count for name, total in self.sums.items()}

    def serialize(self) -> str:
        """Return the state as text, to the last bit."""
        sums = {name: float(total) for name, total in self.sums.items()}
        return json.dumps({"sums": sums, "learning_rate": self.learning_rate})

    def deserialize(self, text: str) -> None:
        """Take the state from a text."""
        state = json.loads(text)
        self.sums = {name: tf.constant(total) for name, total in state["sums"].items()}
        self.learning_rate = state["learning_rate"]
