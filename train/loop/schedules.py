"""Learning rate schedules."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="tfsegloss_train")
class PolynomialWithWarmup(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, then polynomial decay to 0: "poly", the schedule of the DeepLab papers.

    η(t) = η₀ · (t + 1) / w for t < w, then η₀ · (1 − (t − w) / (T − w))^power, with w
    `warmup_steps` and T `steps`. The papers have no warm-up: w = 0 is theirs.

    Args:
        learning_rate: η₀.
        steps: T.
        warmup_steps: w < T.
        power: Exponent.

    Example:

    >>> schedule = PolynomialWithWarmup(1.0, steps=12, warmup_steps=2, power=1.0)
    >>> [round(float(schedule(t)), 6) for t in (0, 1, 2, 7, 12)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """

    def __init__(self, learning_rate: float, steps: int, warmup_steps: int = 0, power: float = 0.9):
        if not 0 <= warmup_steps < steps:
            raise ValueError(
                "`warmup_steps` must be in [0, steps). "
                f"Received: warmup_steps={warmup_steps}, steps={steps}"
            )
        self.learning_rate = learning_rate
        self.steps = steps
        self.warmup_steps = warmup_steps
        self.power = power

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Return the learning rate of a step, counted from 0."""
        step = tf.cast(step, tf.float32)
        warmup = (step + 1) / max(self.warmup_steps, 1)
        rest = (self.steps - step) / (self.steps - self.warmup_steps)
        decay = tf.clip_by_value(rest, 0, 1) ** self.power
        return self.learning_rate * tf.where(step < self.warmup_steps, warmup, decay)

    def get_config(self) -> dict:
        """Return all options."""
        return {
            "learning_rate": self.learning_rate,
            "steps": self.steps,
            "warmup_steps": self.warmup_steps,
            "power": self.power,
        }
