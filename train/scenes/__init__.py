"""The embedded dataset: street scenes with CamVid's eleven classes, rendered from a seed."""

from train.scenes.classes import CLASS_NAMES, COLOURS, IGNORED_COLOUR
from train.scenes.files import write
from train.scenes.render import render

__all__ = ["CLASS_NAMES", "COLOURS", "IGNORED_COLOUR", "render", "write"]
