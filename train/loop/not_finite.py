"""Where a number that is not finite comes from: the first such tensor, and the images of its batch.

The loop reads the loss now and then, and a weight shows it a step later than the gradient that it
comes from. So the steps since the last checkpoint are taken again, up to the first that is wrong,
and that one is looked into.
"""

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from train.common.errors import REMEDY, NotFiniteError, UserError
from train.config import TrainerConfig
from train.loop.inspection import Inspection
from train.loop.trainer import Trainer

# The names of the images of a batch, from the number of steps before it.
BatchNames = Callable[[int], Sequence[str]]


class Found(NamedTuple):
    """The first tensor of a step that is not finite."""

    tensor: str  # what it is
    images: Sequence[int] = ()  # which images of the batch it is not finite in, where that is known


def explained(
    error: NotFiniteError,
    trainer: Trainer,
    config: TrainerConfig,
    batches: Callable[[int], Iterable],
    names: BatchNames,
) -> UserError:
    """Return an error that names the first tensor that is not finite, and the batch's images.

    The trainer's state is that of some step before when this returns; no checkpoint is written.

    Args:
        error: What the trainer raised.
        trainer: Where.
        config: Of its loop.
        batches: As the loop got them.
        names: Of the images.
    """
    beginning = f"{error.what} is not finite at step {error.step}"
    images = f"the batch is of {_listed(names(error.step - 1))}"
    if not trainer.can_go_back:  # the other machines would have to go with this one
        return UserError(f"{beginning}; {images}; {REMEDY}")
    print(
        f"Not finite: {error.what} at step {error.step}, {images}. Taking the steps since the last "
        "checkpoint again to find the first tensor (Ctrl-C ends that)",
        flush=True,
    )
    step, found = _search(error.step, trainer, config, batches)
    if found is None:
        return UserError(
            f"{beginning}; {images}; taken again since the last checkpoint, the steps are finite; "
            f"{REMEDY}"
        )
    of_batch = names(step - 1)
    bad = f" for {_listed([of_batch[i] for i in found.images])}" if found.images else ""
    return UserError(
        f"{beginning}: in step {step} the first tensor that is not is {found.tensor}{bad}, of the "
        f"batch of {_listed(of_batch)}; {REMEDY}"
    )


def _search(
    last: int, trainer: Trainer, config: TrainerConfig, batches: Callable[[int], Iterable]
) -> tuple[int, Found | None]:
    """Return the first step that is not finite, and its first tensor that is not.

    Only the last two steps are looked into on the way: a gradient may spoil the weights, and so the
    loss of the step after. Where an earlier step spoils them, all is taken once more.
    """
    look, suspect = FirstNotFinite(trainer), last - 1
    while trainer.go_back(max(suspect - 1, 0)):
        if weight := trainer.bad_weight():
            return trainer.step + 1, Found(f"the weight {weight} before it")
        for batch in _batches(trainer, config, batches, last):
            step = trainer.step + 1
            found = look(batch) if step >= suspect else None
            loss = trainer.train_step(batch)["loss"]
            weight = trainer.bad_weight()
            if weight is None and np.isfinite(loss):
                continue
            if step < suspect:
                suspect = step
                break
            return step, found or Found(f"the weight {weight} after it")
        else:
            break
    return last, None


def _batches(
    trainer: Trainer, config: TrainerConfig, batches: Callable[[int], Iterable], last: int
) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
    """Yield the batches that the loop would take from here on; each has to be taken."""
    while trainer.step < last:
        end = min(last, (trainer.step // config.evaluate_every + 1) * config.evaluate_every)
        count = trainer.until_drawn_anew(end, config)
        yield from itertools.islice(batches(trainer.step), count)


class FirstNotFinite(Inspection):
    """Looks into a step for the first tensor that is not finite; nothing is changed by it.

    In the order of the computation: the images, the outputs of the layers, the parts of the loss,
    the loss, its gradient by the logits, and those of the weights, from the last one back.

    Args:
        trainer: Whose step it is.
    """

    def __init__(self, trainer: Trainer):
        super().__init__(trainer)
        self._layers = [*_leaves(trainer.model)]
        self._names: list[str] = []  # of the tensors whose numbers `_look_at_layers` counts

    def __call__(self, batch: tuple[tf.Tensor, tf.Tensor]) -> Found | None:
        """Return the first tensor that is not finite.

        Args:
            batch: A (distributed) batch.
        """
        before = self._state()
        try:
            return next(self._findings(*batch, before), None)
        finally:
            self._restore(before)

    def _findings(
        self, images: tf.Tensor, ids: tf.Tensor, before: list[tf.Tensor]
    ) -> Iterator[Found]:
        parts = self._split(images)
        passed = [self._look_at_layers(part) for part in parts]
        logits = [logits for logits, _ in passed]
        yield from self._of_layers([counts for _, counts in passed])
        values, upstream = self._loss_and_gradient(ids, logits)
        for name, value in sorted(values.items(), key=lambda item: item[0] == "loss"):
            if not np.isfinite(value):
                part = name.removeprefix("loss_")
                yield Found("the loss" if name == "loss" else f"the part {part} of the loss")
        if bad := self._bad_images([self._counts(part) for part in upstream]):
            yield Found("the gradient of the loss by the logits", bad)
        self._restore(before)
        gradients = [self._backward(*pair) for pair in zip(parts, upstream, strict=True)]
        for i, variable in reversed([*enumerate(self._model.trainable_variables)]):
            values = [v for gradient in gradients for v in self._values_of(gradient[i])]
            if any(_count(value).numpy().any() for value in values):
                yield Found(f"the gradient by the weight {variable.path}")

    def _of_layers(self, counts: list[list]) -> Iterator[Found]:
        """Find what is wrong with the outputs of the layers, of the parts of the batch."""
        for name, *of_parts in zip(self._names, *counts, strict=True):
            if bad := self._bad_images(of_parts):
                yield Found(name, bad)

    def _bad_images(self, parts: Sequence) -> list[int]:
        """Return which images of the batch are not finite.

        Args:
            parts: Of each part of the replicas' images, the counts `[images]`.
        """
        by_part = [self._values_of(part) for part in parts]
        return np.flatnonzero(
            np.concatenate([np.concatenate(counts) for counts in zip(*by_part, strict=True)])
        ).tolist()

    @tf.function
    def _counts(self, values: tf.Tensor) -> tf.Tensor:
        return self._run(_count, args=(values,))

    @tf.function
    def _look_at_layers(self, images: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Return the logits, and how many numbers of each image and tensor are not finite."""
        # By the thread: that of a replica.
        called: dict[int, list[tuple[str, tf.Tensor]]] = {}

        def of_replica(images):
            own = called[threading.get_ident()] = [("the images", _count(images))]
            logits = self._logits(images)
            self._names = [name for name, _ in own]
            return logits, [count for _, count in own]

        def note(layer, outputs):
            name = f"the output of the layer {layer.name} ({type(layer).__name__})"
            own = called[threading.get_ident()]
            own += [(name, _count(output)) for output in tf.nest.flatten(outputs)]

        with _noted_calls(self._layers, note):
            return self._run(of_replica, args=(images,))


@contextmanager
def _noted_calls(
    layers: Sequence[keras.Layer], note: Callable[[keras.Layer, Any], None]
) -> Iterator[None]:
    """Call `note(layer, outputs)` after each call of the layers."""

    def noting(layer, call):
        def noted(*arguments, **options):
            outputs = call(*arguments, **options)
            note(layer, outputs)
            return outputs

        return noted

    for layer in layers:
        layer.call = noting(layer, layer.call)
    try:
        yield
    finally:
        for layer in layers:
            del layer.call  # that of its class is there again


def _leaves(model: keras.Model) -> Iterator[keras.Layer]:
    """Return the layers of a network, those of the networks in it one by one, each once."""
    found = {}
    for layer in model.layers:
        inner = _leaves(layer) if isinstance(layer, keras.Model) else [layer]
        found |= {id(leaf): leaf for leaf in inner}
    yield from found.values()


def _count(values: tf.Tensor) -> tf.Tensor:
    """Return how many numbers of each image are not finite `[B]`; of a scalar `[1]`."""
    if not values.dtype.is_floating:
        return tf.zeros(tf.shape(values)[:1], tf.int32)
    wrong = tf.cast(~tf.math.is_finite(values), tf.int32)
    rank = values.shape.rank
    return tf.reduce_sum(wrong, axis=[*range(1, rank)]) if rank else wrong[tf.newaxis]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))
