"""Own data, as users keep them: a small folder of images, label maps and `classes.yaml`."""

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 24, 32
COLORS = {"road": (200, 0, 0), "tree": (0, 100, 0)}
SPLITS = {"train": ("a", "b"), "val": ("c", "d")}
# Two ignored rows, ten of road, twelve of tree.
IDS = np.repeat(np.array([255, 0, 1], np.uint8), [2, 10, 12])[:, np.newaxis].repeat(WIDTH, axis=1)


def write(root, splits=SPLITS, *, scale=1):
    """Write the folder: noise as images, all with the same label map; larger by a scale."""
    lines = [f"- {{name: {name}, color: {[*color]}}}" for name, color in COLORS.items()]
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    (root / "classes.yaml").write_text("\n".join(["classes:", *lines]))
    random = np.random.default_rng(0)
    for split, names in splits.items():
        write_list(root, split, names)
        for name in names:
            noise = random.integers(0, 256, [HEIGHT * scale, WIDTH * scale, 3], dtype=np.uint8)
            Image.fromarray(noise).save(image(root, name), compress_level=1)
            write_labels(root, name, IDS.repeat(scale, axis=0).repeat(scale, axis=1))
    return root


def write_list(root, split, names):
    (root / f"{split}.txt").write_text("\n".join(names) + "\n")


def write_labels(root, name, ids):
    Image.fromarray(ids).save(labels(root, name))


def image(root, name):
    return root / "images" / f"{name}.png"


def labels(root, name):
    return root / "labels" / f"{name}.png"


def truncate(path):
    path.write_bytes(path.read_bytes()[:-30])
