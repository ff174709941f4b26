"""Where the encoded images and label maps of a split come from."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import tensorflow as tf

from train.data.decoding.labels import LabelEncoding


class Samples(ABC):
    """Encoded images and label maps, in a fixed order, to be read at any place."""

    encoding: LabelEncoding  # what their label maps mean
    variant: str = ""  # what kind of label maps these are, where the dataset has several

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abstractmethod
    def read(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Read the encoded image and the encoded label map of a sample; in a graph or eagerly.

        Args:
            index: Integer `[]`.

        Returns:
            Two strings `[]`.
        """

    @abstractmethod
    def subset(self, indices: Sequence[int]) -> "Samples":
        """Return some of the samples, in the order given."""

    @abstractmethod
    def joined(self, others: Sequence["Samples"]) -> "Samples":
        """Return these samples and after them others of the same kind."""

    @property
    @abstractmethod
    def identities(self) -> Sequence[Hashable]:
        """What tells an image of one split from those of another."""

    @abstractmethod
    def image_name(self, index: int) -> str:
        """Return what the user calls an image."""

    @abstractmethod
    def labels_name(self, index: int) -> str:
        """Return what the user calls a label map."""


@dataclass(frozen=True)
class FileSamples(Samples):
    """Samples as files.

    Args:
        encoding: What the pixels of the label maps mean.
        images: JPEG or PNG files.
        labels: PNG files, in the same order.
        variant: What kind of label maps these are, where the dataset has several.
    """

    encoding: LabelEncoding
    images: tuple[Path, ...]
    labels: tuple[Path, ...]
    variant: str = ""

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Read the contents of two files."""
        images, labels = ([*map(str, paths)] for paths in (self.images, self.labels))
        return tuple(tf.io.read_file(tf.constant(paths)[index]) for paths in (images, labels))

    def subset(self, indices: Sequence[int]) -> "FileSamples":
        """Return some of the files."""
        images, labels = (tuple(p[i] for i in indices) for p in (self.images, self.labels))
        return replace(self, images=images, labels=labels)

    def joined(self, others: Sequence["FileSamples"]) -> "FileSamples":
        """Return these files and after them others."""
        images, labels = (
            tuple(path for each in (self, *others) for path in getattr(each, name))
            for name in ("images", "labels")
        )
        return replace(self, images=images, labels=labels)

    @property
    def identities(self) -> tuple[Path, ...]:
        """The paths."""
        return self.images

    def image_name(self, index: int) -> str:
        """Return the path."""
        return str(self.images[index])

    def labels_name(self, index: int) -> str:
        """Return the path."""
        return str(self.labels[index])
