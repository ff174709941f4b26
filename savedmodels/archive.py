"""A SavedModel on disk with its classes beside it: written whole, loaded by TensorFlow alone."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import tensorflow as tf

from train.common.errors import UserError
from train.common.files import require_no_pattern, whole_folder
from train.data.datasets.dataset import Dataset
from train.data.decoding.palette import Color
from train.loop.inference import predict_classes, whole_image_logits

CLASSES = "classes.json"


@dataclass(frozen=True)
class Classes:
    """What `classes.json` says of the outputs.

    Args:
        dataset: Name of the dataset the model was trained on.
        class_names: Names of the ids 0, 1, ….
        colors: RGB of each class.
        activation: "softmax": `probabilities` sum to 1 over the classes; "sigmoid": each class has
            a probability of its own.
        threshold: Probability above which a pixel is of the second of two classes, where
            `probabilities` are those of that class alone; None: the most likely class is taken.
        data_root: The dataset's folder, from the working directory of the training; None: where
            it is by default.
        averaged: Whether the weights are moving averages over the steps of the training.
    """

    dataset: str
    class_names: tuple[str, ...]
    colors: tuple[Color, ...]
    activation: str
    threshold: float | None = None
    data_root: str | None = None
    averaged: bool = False

    def require_those_of(self, dataset: Dataset) -> None:
        """Refuse a dataset of other classes.

        Raises:
            UserError: It has others.
        """
        ours, theirs = self.class_names, dataset.class_names
        if ours != theirs:
            raise UserError(
                f"the model knows the classes {', '.join(ours)}; {dataset.name} has "
                f"{', '.join(theirs)}"
            )


def write(model: keras.Model, resolution: float, classes: Classes, folder: Path) -> None:
    """Write a SavedModel, all of it or nothing.

    Its `serve` takes `images` uint8 `[B, H, W, 3]` of any size, refuses other types, and gives
    `classes` uint8 `[B, H, W]` and `probabilities` float32 `[B, H, W, C]`, C = 1 for a foreground
    alone.

    Args:
        model: Logits from pixel values 0 to 255.
        resolution: Factor by which images are resized for the network.
        classes: Goes into `classes.json`.
        folder: Must not exist.

    Raises:
        UserError: The folder exists, or cannot be written, such as on a full disk.
    """
    require_no_pattern(folder, "output")
    if folder.exists():
        raise UserError(f"{folder} exists; choose another --output, or remove it")
    threshold = 0.5 if classes.threshold is None else classes.threshold
    activation = tf.sigmoid if classes.activation == "sigmoid" else tf.nn.softmax

    # Without `input_signature`: with one, `serve(images / 255)` casts the floats to bytes, all 0.
    @tf.function
    def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = whole_image_logits(model, images, resolution)
        classes_of_pixels = predict_classes(logits, threshold)
        return {"classes": classes_of_pixels, "probabilities": activation(logits)}

    serve.get_concrete_function(tf.TensorSpec([None, None, None, 3], tf.uint8, name="images"))
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", serve)
    try:
        with whole_folder(folder) as whole:
            archive.write_out(str(whole), verbose=False)
            (whole / CLASSES).write_text(json.dumps(asdict(classes), indent=1) + "\n")
    except tf.errors.OpError as error:
        raise UserError(f"{folder} cannot be written: {' '.join(error.message.split())}") from None


class SavedSegmenter:
    """A SavedModel and its classes, loaded with `tf.saved_model.load` alone.

    Args:
        folder: As `write` made it.

    Attributes:
        classes: What `classes.json` says.

    Raises:
        UserError: The folder is no SavedModel, has no `classes.json`, or is damaged.
    """

    def __init__(self, folder: Path):
        path = folder / CLASSES
        if not tf.saved_model.contains_saved_model(str(folder)) or not path.is_file():
            raise UserError(f"{folder} is no exported model: saved_model.pb and {CLASSES} expected")
        try:
            self.classes = _read_classes(path)
            self._model = tf.saved_model.load(str(folder))
            self._serve = self._model.serve
        # Damage is found by whatever reads the part first, each with errors of its own.
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise UserError(f"{folder} is damaged ({reason}): export it again") from None

    def serve(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return what the model gives for images uint8 `[B, H, W, 3]`; see `write`."""
        return self._serve(images)

    def classify(self, images: tf.Tensor) -> tf.Tensor:
        """Return the class ids uint8 `[B, H, W]` of images uint8 `[B, H, W, 3]`."""
        return self.serve(images)["classes"]


def _read_classes(path: Path) -> Classes:
    fields = json.loads(path.read_text())
    names = tuple(fields["class_names"])
    if not all(isinstance(name, str) and name.isprintable() for name in names):
        raise ValueError(f"{CLASSES}: expected names without control characters")
    return Classes(
        fields["dataset"],
        names,
        tuple(map(tuple, fields["colors"])),
        fields["activation"],
        fields.get("threshold"),
        fields.get("data_root"),
        fields.get("averaged", False),
    )
