"""The embedded dataset: street scenes with CamVid's eleven classes, rendered from a seed."""

from train.data.datasets.camvid_classes import CLASS_NAMES, COLORS, IGNORED_COLOR
from train.data.datasets.dataset import Dataset
from train.data.datasets.scenes.files import write
from train.data.datasets.scenes.render import render
from train.data.datasets.voc import list_voc

__all__ = ["CLASS_NAMES", "COLORS", "IGNORED_COLOR", "SCENES", "render", "write"]

SCENES = Dataset(
    name="scenes",
    class_names=CLASS_NAMES,
    colors=COLORS,
    ignored_colors=(IGNORED_COLOR,),
    splits={"train": 320, "val": 80},
    source="rendered by this project from a seed",
    license="Apache-2.0, like the project",
    list_split=list_voc,
    make=write,
)
