"""The training loop: epochs of steps, each saved and evaluated, and callbacks."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import keras

from train.common import signals
from train.config import TrainerConfig
from train.loop.evaluation import Scores
from train.loop.meetings import Meetings
from train.loop.trainer import Trainer


def fit(
    trainer: Trainer,
    batches: Callable[[int], Iterable],
    config: TrainerConfig,
    evaluate: Callable[[], Scores],
    callbacks: list[keras.callbacks.Callback],
    *,
    evaluated: int = 0,
    best: Callable[[], int | None] = lambda: None,
    is_over: Callable[[], bool] = lambda: False,
) -> None:
    """Step until `config.steps`, in epochs of `config.evaluate_every` steps.

    An epoch's end is saved before it is evaluated; a run that was stopped in between evaluates it
    first.

    Args:
        trainer: Takes the steps.
        batches: The batches from a step on; asked for at the start of each epoch, and wherever
            samples are drawn by new shares.
        config: How often what happens.
        evaluate: Called after each epoch; its scores are logged.
        callbacks: Keras callbacks.
        evaluated: The last step whose scores are on record; 0: none.
        best: Returns the step of the best scores so far, whose checkpoint is kept.
        is_over: Returns, after an evaluation, whether the run ends before its last step.

    Raises:
        NotFiniteError: The loss or a weight is not finite.
        UserError: A checkpoint cannot be written.
        KeyboardInterrupt: By Ctrl-C or another signal; the step is saved. One that comes when all
            is saved and scored is left to the caller's `signals.raise_caught`.
    """
    every = config.evaluate_every
    if min(trainer.step, evaluated) >= config.steps:
        return
    trainer.keep_first_state()
    chain = keras.callbacks.CallbackList(
        callbacks,
        model=trainer.model,
        epochs=-(-config.steps // every),
        steps=min(every, config.steps),
    )
    meetings = Meetings(trainer.worker, trainer.total, trainer.step + 1)
    loop = _Loop(trainer, batches, config, evaluate, chain, best, meetings)
    chain.on_train_begin()
    # Around the save too: the first that this worker gets may come then, where another had one.
    with signals.deferred():
        try:
            loop.take_epochs(evaluated, is_over)
        except KeyboardInterrupt as stop:
            # A second signal may have come between a step and its losses' sums.
            counted = not getattr(stop, "is_second", False)
            if counted and trainer.step > trainer.saved_step:
                loop.save()
            raise
        finally:
            chain.on_train_end()


@dataclass(frozen=True)
class _Loop:
    """The loop of a run, of the arguments of `fit`."""

    trainer: Trainer
    batches: Callable[[int], Iterable]
    config: TrainerConfig
    evaluate: Callable[[], Scores]
    chain: keras.callbacks.CallbackList
    best: Callable[[], int | None]
    meetings: Meetings

    def take_epochs(self, evaluated: int, is_over: Callable[[], bool]) -> None:
        """Take the epochs that are left, and first the evaluation that is."""
        trainer, every = self.trainer, self.config.evaluate_every
        if self._is_at_end(trainer.step) and evaluated < trainer.step:
            epoch = (trainer.step - 1) // every
            self.chain.on_epoch_begin(epoch)
            self._evaluate(epoch)
        for epoch in range(trainer.step // every, self.chain.params["epochs"]):
            if trainer.step < self.config.steps and not is_over():
                self._take_epoch(epoch)

    def save(self) -> None:
        """Save the step, and keep the checkpoints that are to be kept."""
        self.trainer.save({*self.config.keep_at, self.best()})

    def _is_at_end(self, step: int) -> bool:
        """Return whether an epoch ends with a step; no step is none."""
        return step > 0 and (step % self.config.evaluate_every == 0 or step == self.config.steps)

    def _take_epoch(self, epoch: int) -> None:
        """Take the steps of an epoch that are left, save, and evaluate."""
        trainer, every = self.trainer, self.config.evaluate_every
        start, end = epoch * every, min((epoch + 1) * every, self.config.steps)
        if trainer.step == start:  # not where an epoch is resumed
            trainer.epoch_logs.clear()
        self.chain.on_epoch_begin(epoch, trainer.epoch_logs.means(trainer.step - start))
        while trainer.step < end:
            count = trainer.until_drawn_anew(end, self.config)
            self._take_steps(iter(self.batches(trainer.step)), start, count)
        self._evaluate(epoch)

    def _evaluate(self, epoch: int) -> None:
        """Log the means of an epoch's steps, and the scores at its end."""
        trainer = self.trainer
        logs = trainer.epoch_logs.means(trainer.step - epoch * self.config.evaluate_every)
        logs["learning_rate"] = trainer.epoch_logs.learning_rate
        if trainer.loss_scale:
            logs |= trainer.loss_scale.logs()
        trainer.share_statistics()
        logs |= {f"val_{name}": value for name, value in self.evaluate().scalars().items()}
        if trainer.averages:
            with trainer.averages.in_use():
                scores = self.evaluate().scalars()
            logs |= {f"val_ema_{name}": value for name, value in scores.items()}
        self.chain.on_epoch_end(epoch, logs)

    def _take_steps(self, batches: Iterator, start: int, count: int) -> None:
        """Take some of the steps of an epoch, which began after a step, and save."""
        trainer, config, logs = self.trainer, self.config, None
        for step in range(trainer.step + 1, trainer.step + count + 1):
            self.chain.on_train_batch_begin(step - 1 - start)
            if self._is_at_end(step):
                trainer.epoch_logs.learning_rate = trainer.learning_rate
            trainer.epoch_logs.add(trainer.train_step(next(batches)))
            is_saved = (
                step % config.checkpoint_every == 0
                or step in config.keep_at
                or self._is_at_end(step)
            )
            # Reading the loss waits for the device, so it is not read at every step of a fast one;
            # workers read it after the same steps, and end with the same if it is not finite.
            if self.meetings.reached(step) or is_saved or logs is None:
                logs = trainer.epoch_logs.read(step - start, step)
                if trainer.loss_scale:
                    trainer.loss_scale.check(step)
            self.chain.on_train_batch_end(step - 1 - start, logs)
            if is_saved:
                self.save()
            self.meetings.raise_caught()
