"""What TensorBoard shows of a run: curves over the steps, and pictures of each evaluation."""

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import tfsegloss.explain
from train.common.errors import UserError
from train.data.datasets.dataset import Dataset
from train.loop.evaluation import Scores
from train.loop.inspection import GradientNorms
from train.loop.trainer import Trainer
from train.reports.panels import confusion_picture, error_map, heat_map
from train.reports.pictures import colorize, picture_sheet
from train.runs.reporting import ProgressReport

PANELS = 4  # images that are shown after each evaluation
PANEL_WIDTH = 256  # of each of their pictures, pixels
LONGEST_SIDE = 640  # of what a loss' gradient is taken on for a panel
MEGABYTE = 1e6


class EventFile:
    """A file of events for TensorBoard, begun where the first is written.

    Args:
        folder: Where it is.
        writes: Whether anything is written; of several workers only the first does.
    """

    def __init__(self, folder: Path, *, writes: bool = True):
        self._folder, self._writes = folder, writes
        self._writer = None

    def scalars(self, values: Mapping[str, float | None], step: int) -> None:
        """Write numbers by tag; those that are not finite or not defined are left out.

        Raises:
            UserError: They cannot be written, such as on a full disk.
        """
        with self._open():
            for tag, value in values.items():
                if value is not None and math.isfinite(value):
                    tf.summary.scalar(tag, value, step=step)

    def picture(self, tag: str, pixels: np.ndarray, step: int) -> None:
        """Write a picture uint8 `[H, W, 3]`.

        Raises:
            UserError: As for `scalars`.
        """
        with self._open():
            tf.summary.image(tag, pixels[np.newaxis], step=step)

    def flush(self) -> None:
        """Write what is still in memory.

        Raises:
            UserError: As for `scalars`.
        """
        with self._open():
            self._writer.flush()

    @contextmanager
    def _open(self):
        try:
            if self._writer is None:
                self._writer = (
                    tf.summary.create_file_writer(str(self._folder))
                    if self._writes
                    else tf.summary.create_noop_writer()
                )
            with self._writer.as_default():
                yield
        except tf.errors.OpError as error:
            raise UserError(
                f"{self._folder} cannot be written: {' '.join(error.message.split())}"
            ) from None


class Curves(keras.callbacks.Callback):
    """Writes what is logged, over the steps: after each epoch, and where the loop reads the loss.

    Keras' own callback counts epochs. The losses of "step/…" are means over the steps since the
    last such point; those without it are the epoch's, as in `metrics.jsonl`.

    Args:
        events: Where to.
        progress: Knows the speed.
        learning_rate: Returns that of the next step.
        multipliers: Of the learning rate, of the groups of weights.
    """

    def __init__(
        self,
        events: EventFile,
        progress: ProgressReport,
        learning_rate: Callable[[], float],
        multipliers: Iterable[float] = (1.0,),
    ):
        super().__init__()
        self._events, self._progress = events, progress
        self._learning_rate = learning_rate
        self._multipliers = sorted({*multipliers} - {0})
        self._read: Mapping | None = None
        self._count, self._means = 0, {}

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Forget the epoch before; of a resumed one the logs are the means of its former steps."""
        self._read, self._count, self._means = None, 0, logs or {}

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Write a point where the loop has read the loss; it hands the same logs on until then."""
        if logs == self._read:
            return
        if self._read is None:  # the loop reads the loss of the first step that it takes
            self._count = batch
        former, count = self._count, batch + 1
        sums = {k: count * mean - former * self._means.get(k, 0.0) for k, mean in logs.items()}
        values = {f"step/{name}": total / (count - former) for name, total in sums.items()}
        values |= self._rates("step/learning_rate", self._learning_rate())
        values["step/images_per_second"] = self._progress.images_per_second
        self._events.scalars(values, self._step())
        self._read, self._count, self._means = logs, count, logs

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Write what is logged, and the memory in use."""
        values = {**logs, **self._rates("learning_rate", logs["learning_rate"])}
        values["images_per_second"] = self._progress.images_per_second
        values |= {f"memory/{name} (MB)": n / MEGABYTE for name, n in memory_in_use().items()}
        self._events.scalars(values, self._step())
        self._events.flush()

    def _step(self) -> int:
        return int(self.model.optimizer.iterations.numpy())

    def _rates(self, tag: str, rate: float) -> dict[str, float]:
        """Return the learning rate, and that of each group where they differ."""
        groups = {f"{tag}/x{m:g}": m * rate for m in self._multipliers}
        return {tag: rate, **(groups if len(groups) > 1 else {})}


class Evaluations:
    """Writes what an evaluation finds: scores of classes, pictures, and norms of gradients.

    Nothing of it changes the training: `tests/train/runs/test_watching.py` compares the bits.

    Args:
        events: Where to.
        trainer: Whose loss and gradients are looked at.
        logits: From an image uint8 `[1, H, W, 3]` to logits `[1, H, W, C]`.
        dataset: Of the images.
        images: How many an evaluation scores; the panels show some spread over them.
        batches: As the trainer's loop gets them.
    """

    def __init__(
        self,
        events: EventFile,
        trainer: Trainer,
        logits: Callable[[tf.Tensor], tf.Tensor],
        dataset: Dataset,
        images: int,
        batches: Callable[[int], Iterable],
    ):
        self._events, self._trainer, self._logits = events, trainer, logits
        self._dataset, self._batches = dataset, batches
        # Of those that the first worker scores.
        workers = trainer.worker.count
        places = np.linspace(0, (images - 1) // workers, PANELS).round().astype(int)
        self._shown = {*(places * workers).tolist()}
        self._rows: list[list[np.ndarray]] = []
        self._norms: GradientNorms | None = GradientNorms(trainer)

    def on_image(
        self, number: int, image: np.ndarray, truth: np.ndarray, predicted: np.ndarray
    ) -> None:
        """Take in an image that is scored; `train.loop.evaluation.Observe`."""
        if number not in self._shown:
            return
        colors = self._dataset.colors
        labels = colorize(truth, colors), colorize(predicted, colors)
        errors = error_map(image, truth, predicted)
        self._rows.append([image, *labels, errors, self._where_the_loss_looks(image, truth)])

    def on_scores(self, scores: Scores) -> None:
        """Write all that belongs to an evaluation, after its images."""
        step = self._trainer.step
        self._events.scalars({f"iou/{name}": iou for name, iou in scores.iou.items()}, step)
        confusion = confusion_picture(scores.matrix, scores.class_names)
        self._events.picture("confusion", np.asarray(confusion), step)
        rows, self._rows = self._rows, []
        if rows:
            titles = "image", "truth", "prediction", "errors", "gradient of the loss"
            classes = self._dataset.class_names, self._dataset.colors
            sheet = picture_sheet(rows, titles, *classes, cell_width=PANEL_WIDTH)
            self._events.picture("panels", np.asarray(sheet), step)
        self._events.scalars(self._gradient_norms(step), step)

    def _where_the_loss_looks(self, image: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Draw the gradient by the logits; of every n-th pixel where the image is large."""
        n = -(-max(truth.shape) // LONGEST_SIDE)
        ids, logits = truth[::n, ::n], self._logits(image[np.newaxis])[:, ::n, ::n]
        try:
            maps = tfsegloss.explain.explain(self._trainer.loss, ids, logits)
        except ValueError as error:
            print(f"No picture of what the loss looks at: {error}")
            return np.full_like(image, 255)
        heat = heat_map(maps["gradient"], maps["valid"])
        return heat.repeat(n, 0).repeat(n, 1)[: truth.shape[0], : truth.shape[1]]

    def _gradient_norms(self, step: int) -> dict[str, float]:
        """Return the norms on the last step's batch, unless the memory does not suffice."""
        if self._norms is None:
            return {}
        try:
            return self._norms(next(iter(self._batches(step - 1))))
        except tf.errors.ResourceExhaustedError:
            worker = self._trainer.worker
            if worker.count > 1:  # the others wait for this one's gradients, and cannot go on
                raise UserError(
                    f"{worker}: the memory does not suffice for the norms of gradients after an "
                    "evaluation: lower trainer.batch_size, or raise trainer.accumulation"
                ) from None
            print("No norms of gradients in TensorBoard: the memory does not suffice for them")
            self._norms = None
            return {}


def memory_in_use() -> dict[str, int]:
    """Return bytes by name: what tensors take on each GPU, now and at most; else the process.

    On a CPU that is the resident memory, and nothing where the system does not tell it.
    """
    gpus = [
        device.name.removeprefix("/device:") for device in tf.config.list_logical_devices("GPU")
    ]
    if gpus:
        found = {name: tf.config.experimental.get_memory_info(name) for name in gpus}
        return {f"{gpu} {of}": info[of] for gpu, info in found.items() for of in info}
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    names = {"VmRSS:": "process current", "VmHWM:": "process peak"}
    fields = [line.split() for line in lines if line.startswith(tuple(names))]
    return {names[name]: 1024 * int(kilobytes) for name, kilobytes, *_ in fields}
