"""The first weights of a run: those of another run."""

from pathlib import Path

import keras

from train.common.errors import UserError
from train.loop import checkpoints
from train.runs.folder import CHECKPOINTS
from train.runs.load import load_trained


def initialize_from(model: keras.Model, run: Path) -> None:
    """Give a network the weights of a run's last checkpoint, or their averages, and say which.

    A weight of another size is one that knows the number of classes: it stays new.

    Args:
        model: The network.
        run: Folder of the run.

    Raises:
        UserError: The folder is none of a run, or its network is another one.
    """
    config, dataset, trained = load_trained(run)
    classes = trained.output_shape[-1], model.output_shape[-1]
    pairs = [*zip(model.weights, trained.weights, strict=False)]
    if len(model.weights) != len(trained.weights) or not all(
        _fits(new, old, classes) for new, old in pairs
    ):
        raise UserError(
            f"init_from: the network of {run} is another one, {config.model.name} on "
            f"{config.model.backbone}: choose the same model.name, backbone and options"
        )
    for new, old in pairs:
        if new.shape == old.shape:
            new.assign(old)
    others = [new.path for new, old in pairs if new.shape != old.shape]
    new = f"; new, for other classes than {dataset.name}'s: {', '.join(others)}" if others else ""
    step, steps = max(checkpoints.steps(run / CHECKPOINTS)), config.trainer.steps
    at = f"{run} at step {step} of {steps}{'' if step == steps else ', not its last one'}"
    averages = "" if config.trainer.ema_momentum is None else "the averages of "
    print(f"First weights: {len(pairs) - len(others)} of {averages}{at}{new}")


def _fits(new: keras.Variable, old: keras.Variable, classes: tuple[int, int]) -> bool:
    """Return whether two weights have the same shape but for the number of classes."""
    return len(new.shape) == len(old.shape) and all(
        here == there or (there, here) == classes
        for here, there in zip(new.shape, old.shape, strict=True)
    )
