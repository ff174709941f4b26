"""The images that the runs of a comparison differ most on, with the predictions of each."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from train.common.errors import UserError
from train.compare.counts import iou_of_part, mean
from train.compare.entries import Entry
from train.compare.score import image_names
from train.data.samples.decode import read_all
from train.loop.inference import classifier
from train.reports.pictures import colorize, picture_sheet
from train.runs.data import validation_samples
from train.runs.load import load_trained

ROWS = 5


def most_different(entries: Sequence[Entry], count: int = ROWS) -> list[str]:
    """Return names of images whose mean IoU spreads most over the recipes.

    One of each of so many parts of the split, since neighbours are often frames of one video.
    """
    images = np.array(sorted(entries[0].images))
    counts = [entry.counts().sum(axis=0) for entry in entries]
    scores = [mean(iou_of_part(of_images, of_images.sum(axis=0))) for of_images in counts]
    spread = np.nan_to_num(np.std(scores, axis=0))
    parts = np.array_split(np.arange(len(images)), min(count, len(images)))
    return [str(images[part[np.argmax(spread[part])]]) for part in parts]


def panels(runs: Mapping[str, Path], images: Sequence[str]) -> Image.Image:
    """Draw images, their truth and the predictions of runs.

    Args:
        runs: Folders of finished runs by what the columns are called.
        images: Which ones, by name.

    Raises:
        UserError: The data of a run are not there.
    """
    columns = []
    for run in runs.values():
        config, dataset, model = load_trained(run)
        samples = validation_samples(dataset, config.data)
        names = image_names(samples)
        missing = [image for image in images if image not in names]
        if missing:
            raise UserError(f"{run} has no validation image {missing[0]} any more")
        samples = samples.subset([names.index(image) for image in images])
        pairs = [(image.numpy(), ids.numpy()) for image, ids in read_all(samples)]
        classify = classifier(model, config.input.resolution)
        columns.append([classify(image[tf.newaxis])[0].numpy() for image, _ in pairs])
        keras.backend.clear_session()
    rows = [
        [image, *(colorize(ids, dataset.colors) for ids in (truth, *predicted))]
        for (image, truth), *predicted in zip(pairs, *columns, strict=True)
    ]
    return picture_sheet(rows, ["image", "truth", *runs], dataset.class_names, dataset.colors)
