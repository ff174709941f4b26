"""The embedded dataset: street scenes with CamVid's eleven classes, rendered from a seed."""

from train.data.datasets.camvid_classes import CLASS_NAMES, COLORS, IGNORED_COLOR
from train.data.datasets.scenes.files import write
from train.data.datasets.scenes.render import render

__all__ = ["CLASS_NAMES", "COLORS", "IGNORED_COLOR", "render", "write"]
