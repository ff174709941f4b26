"""The datasets by name."""

from pathlib import Path

from train.common.errors import UserError
from train.data.datasets import folder
from train.data.datasets.camvid import CAMVID
from train.data.datasets.cityscapes import CITYSCAPES
from train.data.datasets.dataset import Dataset, default_root
from train.data.datasets.scenes import SCENES
from train.data.datasets.voc import VOC2012

# The one list of datasets: a new one is a file and its entry here.
DATASETS = {dataset.name: dataset for dataset in (SCENES, VOC2012, CITYSCAPES, CAMVID)}
# Own data are described by what lies in their folder.
NAMES = (*DATASETS, folder.NAME)


def find_dataset(name: str, root: Path | None = None, unlabelled_as_class: bool = False) -> Dataset:
    """Return the description of a dataset.

    Args:
        name: One of NAMES.
        root: Its folder; only own data, "folder", are described by what lies there.
        unlabelled_as_class: Whether pixels without a label are one class more.

    Returns:
        The description.

    Raises:
        UserError: There is no such dataset, or its folder does not describe it.
    """
    if name == folder.NAME:
        dataset = folder.read_folder(default_root(name) if root is None else root)
    elif name in DATASETS:
        dataset = DATASETS[name]
    else:
        raise UserError(f"no dataset {name!r}: expected {', '.join(NAMES)}")
    return dataset.with_unlabelled_class() if unlabelled_as_class else dataset
