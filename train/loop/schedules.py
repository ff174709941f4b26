"""Learning rate schedules."""

import keras
import tensorflow as tf

from tfsegloss.core.checks import check_choice

WARMUPS = ("linear", "constant")


@keras.saving.register_keras_serializable(package="tfsegloss_train")
class PolynomialWithWarmup(keras.optimizers.schedules.LearningRateSchedule):
    """A slow start, then polynomial decay: "poly", the schedule of the DeepLab papers.

    With w `warmup_steps`, T `steps`, η₀ `learning_rate`, η₁ `warmup_rate` and η₂ `final_rate`:

    - linear: η(t) = η₁ + (η₀ − η₁) (t + 1) / w for t < w, then η₀ (1 − (t − w) / (T − w))^power, as
      RMI (section 5.1) warms up;
    - constant: η(t) = η₁ > 0 for t < w, then η₀ (1 − t / T)^power, counted from the first step, as
      SSL (section 4.1) and TensorFlow's DeepLab start;

    and at least η₂ after the start. LAD and LMP have no slow start: w = 0.

    Args:
        learning_rate: η₀.
        steps: T.
        warmup_steps: w < T.
        power: Exponent.
        warmup: "linear" or "constant".
        warmup_rate: η₁, where the linear rise begins (0: it begins with η₀ / w).
        final_rate: η₂ ≤ η₀.

    Raises:
        ValueError: An argument is not as above.

    Example:

    >>> schedule = PolynomialWithWarmup(1.0, steps=12, warmup_steps=2, power=1.0)
    >>> [round(float(schedule(t)), 6) for t in (0, 1, 2, 7, 12)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """

    def __init__(
        self,
        learning_rate: float,
        steps: int,
        warmup_steps: int = 0,
        power: float = 0.9,
        warmup: str = "linear",
        warmup_rate: float = 0.0,
        final_rate: float = 0.0,
    ):
        if not 0 <= warmup_steps < steps:
            raise ValueError(
                "`warmup_steps` must be in [0, steps). "
                f"Received: warmup_steps={warmup_steps}, steps={steps}"
            )
        check_choice("warmup", warmup, WARMUPS)
        if warmup == "constant" and warmup_steps and not warmup_rate > 0:
            raise ValueError(
                "`warmup_rate` must be above 0 where the start is constant. "
                f"Received: warmup_rate={warmup_rate}"
            )
        if final_rate > learning_rate:
            raise ValueError(
                "`final_rate` must be at most `learning_rate`. "
                f"Received: final_rate={final_rate}, learning_rate={learning_rate}"
            )
        self.learning_rate = learning_rate
        self.steps = steps
        self.warmup_steps = warmup_steps
        self.power = power
        self.warmup = warmup
        self.warmup_rate = warmup_rate
        self.final_rate = final_rate

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Return the learning rate of a step, counted from 0."""
        step = tf.cast(step, tf.float32)
        start, least = (rate / self.learning_rate for rate in (self.warmup_rate, self.final_rate))
        shift = 0
        if self.warmup == "linear":
            shift = self.warmup_steps
            start += (1 - start) * ((step + 1) / max(shift, 1))
        rest = (self.steps - step) / (self.steps - shift)
        decay = tf.maximum(tf.clip_by_value(rest, 0, 1) ** self.power, least)
        return self.learning_rate * tf.where(step < self.warmup_steps, start, decay)

    def times(self, factor: float) -> "PolynomialWithWarmup":
        """Return the schedule with all its rates times a factor."""
        rates = ("learning_rate", "warmup_rate", "final_rate")
        config = self.get_config()
        return PolynomialWithWarmup(**config | {name: factor * config[name] for name in rates})

    def get_config(self) -> dict:
        """Return all options."""
        return {
            "learning_rate": self.learning_rate,
            "steps": self.steps,
            "warmup_steps": self.warmup_steps,
            "power": self.power,
            "warmup": self.warmup,
            "warmup_rate": self.warmup_rate,
            "final_rate": self.final_rate,
        }
