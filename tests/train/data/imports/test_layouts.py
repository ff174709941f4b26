"""Exports of annotation tools, as they write them, made own data and read as such."""

import json
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.commands import assert_one_line
from train.data.datasets.registry import find_dataset
from train.data.datasets.voc import voc_colors
from train.data.samples.decode import read_all

# Background, road, tree, and two pixels without a label.
IDS = np.array([[0, 1, 1, 2], [0, 0, 2, 255], [1, 2, 0, 255]], np.uint8).repeat(2, 0).repeat(2, 1)
CLASSES = ["background", "road", "tree"]
VOC = np.array(voc_colors(256), np.uint8)


def photograph(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng([seed, *path.name.encode()])
    Image.fromarray(random.integers(0, 256, [*IDS.shape, 3], dtype=np.uint8)).save(path)


def save(array, path, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(array)
    if palette is not None:
        picture.putpalette(palette.tobytes())
    picture.save(path)


def cvat(root, lists=("default",)):
    """Segmentation mask 1.1, with images: colors of its own, RGB."""
    colors = np.array([(0, 0, 0), (250, 50, 83), (36, 179, 83)], np.uint8)
    lines = [f"{n}:{','.join(map(str, c))}::" for n, c in zip(CLASSES, colors, strict=True)]
    root.mkdir()
    head = "# label:color_rgb:parts:actions\n"
    (root / "labelmap.txt").write_text(head + "\n".join(lines) + "\n")
    for i in range(4):
        photograph(root / "JPEGImages" / f"photo {i}.jpg")
        save(colors[IDS % 255], root / "SegmentationClass" / f"photo {i}.png")
        save(colors[IDS % 255], root / "SegmentationObject" / f"photo {i}.png")
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    for name, part in zip(lists, np.array_split(range(4), len(lists)), strict=True):
        names = "".join(f"photo {i}\n" for i in part)
        (root / "ImageSets" / "Segmentation" / f"{name}.txt").write_text(names)
    return np.where(IDS == 255, 0, IDS)  # it has nothing without a label


def cvat_with_lists(root):
    return cvat(root, ("train", "val"))


def labelme(root, folder="SegmentationClassPNG"):
    """labelme2voc: palettes of VOC's color map, and arrays of NumPy beside them."""
    root.mkdir()
    (root / "class_names.txt").write_text("_background_\nroad\ntree")
    for i in range(4):
        photograph(root / "JPEGImages" / f"{i}.jpg")
        save(IDS, root / folder / f"{i}.png", VOC)
    if folder != "SegmentationClass":
        (root / "SegmentationClass").mkdir()
        np.save(root / "SegmentationClass" / "0.npy", IDS)
    return IDS


def newer_labelme(root):
    return labelme(root, "SegmentationClass")


def roboflow(root):
    """Gray levels by a table in each split."""
    for split, count in {"train": 3, "valid": 1, "test": 1}.items():
        for i in range(count):
            name = f"{i}_jpg.rf.0a1b2c"  # the same in all splits
            photograph(root / split / f"{name}.jpg", sum(split.encode()))
            save(np.where(IDS == 255, 0, IDS), root / split / f"{name}_mask.png")
        table = "Pixel Value, Class\n0, background\n1, road\n2, tree\n"
        (root / split / "_classes.csv").write_text(table)
    return np.where(IDS == 255, 0, IDS)


def label_studio(root):
    """Write a mask for each region, and the tasks beside them."""
    tasks = []
    for i in range(4):
        photograph(root / "images" / f"my-photo {i}.jpg")
        address = f"/data/upload/7/1a2b3c4d-my-photo%20{i}.jpg"
        tasks.append({"id": 30 + i, "data": {"image": address}, "annotations": []})
        for number, (label, which) in enumerate({"road": IDS > 0, "tree": IDS == 2}.items()):
            which = which & (IDS != 255)
            name = f"task-{30 + i}-annotation-{90 + i}-by-1-tag-{label}-{number}.png"
            save(np.where(which, 255, 0).astype(np.uint8), root / name)
    (root / "project.json").write_text(json.dumps(tasks))
    return np.where(IDS == 255, 0, IDS)


def mmsegmentation(root):
    for split, count in {"train": 3, "val": 1}.items():
        for i in range(count):
            photograph(root / "img_dir" / split / f"{i}.jpg", sum(split.encode()))
            save(IDS, root / "ann_dir" / split / f"{i}.png")
    return IDS


def coco(root):
    """Colors are numbers of segments: 256 and 70000 are the two of each image."""
    images, annotations = [], []
    segments = {1: 256, 2: 70000, 0: 7}
    for i in range(4):
        photograph(root / "images" / f"{i:012}.jpg")
        numbers = np.vectorize(lambda c: segments.get(c, 0))(IDS)
        rgb = np.stack([numbers % 256, numbers // 256 % 256, numbers // 256**2], -1)
        save(rgb.astype(np.uint8), root / "panoptic_val" / f"{i:012}.png")
        images.append({"id": i, "file_name": f"{i:012}.jpg"})
        info = [{"id": s, "category_id": 10 * c + 1} for c, s in segments.items()]
        annotations.append({"image_id": i, "file_name": f"{i:012}.png", "segments_info": info})
    categories = [{"id": 10 * c + 1, "name": name} for c, name in enumerate(CLASSES)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "panoptic_val.json").write_text(json.dumps(content))
    return IDS


EXPORTS = {
    "cvat": cvat,
    "cvat with lists": cvat_with_lists,
    "labelme": labelme,
    "newer labelme": newer_labelme,
    "roboflow": roboflow,
    "label studio": label_studio,
    "mmsegmentation": mmsegmentation,
    "coco": coco,
}
VARIATIONS = ("cvat with lists", "newer labelme")
SPLITS = {"cvat with lists": (2, 2), "roboflow": (3, 1), "mmsegmentation": (3, 1)}


@pytest.fixture
def run(train, tmp_path):
    """Import a folder."""
    return lambda folder, *options: train(
        "import-labels", folder, f"--output={tmp_path}/own", *options
    )


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.full if name in VARIATIONS else ()) for name in EXPORTS],
)
def test_an_export_becomes_own_data(run, tmp_path, name):
    expected = EXPORTS[name](tmp_path / "export")
    more = ["--classes=[background, road, tree]"] if name == "mmsegmentation" else []
    outcome = run(tmp_path / "export", *more)
    assert outcome.status == 0, outcome.out + outcome.err
    assert "Nothing is wrong." in outcome.out
    dataset = find_dataset("folder", tmp_path / "own")
    assert dataset.class_names == tuple(CLASSES)
    assert yaml.safe_load((tmp_path / "own" / "classes.yaml").read_text()) == {"classes": CLASSES}
    counts = []
    for split in ("train", "val"):
        samples = dataset.samples(split, tmp_path / "own")
        counts.append(len(samples))
        for number, (image, ids) in enumerate(read_all(samples)):
            np.testing.assert_array_equal(ids, expected)
            original = next((tmp_path / "export").rglob(samples.images[number].name))
            assert image.shape[:2] == Image.open(original).size[::-1]
    assert tuple(counts) == SPLITS.get(name, (3, 1))
    assert ("test" in dataset.splits) == (name == "roboflow")


def test_images_may_lie_elsewhere(run, tmp_path):
    cvat(tmp_path / "export")
    (tmp_path / "export" / "JPEGImages").rename(tmp_path / "photographs")
    outcome = run(tmp_path / "export")
    assert_one_line(outcome, "no images in", "JPEGImages", "--images says where they are")
    assert run(tmp_path / "export", f"--images={tmp_path}/photographs").status == 0


def no_table(root):
    (root / "labelmap.txt").unlink()
    return "no known layout: --layout says which (voc: CVAT"


def wrong_line(root):
    (root / "labelmap.txt").write_text("background:0,0,0::\nroad\n")
    return "labelmap.txt line 2: expected NAME:R,G,B::, got 'road'"


def unknown_color(root):
    save(np.full([*IDS.shape, 3], 9, np.uint8), root / "SegmentationClass" / "photo 1.png")
    return "photo 1.png: no class of export has the color 9, 9, 9"


def missing_image(root):
    (root / "JPEGImages" / "photo 2.jpg").unlink()
    return "photo 2.png: no image photo 2.jpg or .png"


def no_masks(root):
    for path in (root / "SegmentationClass").iterdir():
        path.unlink()
    return "no PNG in SegmentationClassPNG or SegmentationClass"


def one_color(root):
    (root / "labelmap.txt").write_text("background:0,0,0::\nroad:9,9,9::\ntree:9,9,9::\n")
    return "labelmap.txt: the color 9,9,9 is there twice"


def one_name(root):
    (root / "labelmap.txt").write_text("background:0,0,0::\nroad:250,50,83::\nroad:9,9,9::\n")
    return "the class road is there twice"


def two_lists(root):
    for name in ("train", "val"):
        (root / "ImageSets" / "Segmentation" / f"{name}.txt").write_text("photo 0\n")
    return "val.txt line 1: photo 0 is of train too"


DAMAGES = [
    no_table,
    wrong_line,
    unknown_color,
    missing_image,
    no_masks,
    one_color,
    one_name,
    two_lists,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_what_is_wrong_is_named_and_nothing_is_written(run, tmp_path, damage):
    cvat(tmp_path / "export")
    message = damage(tmp_path / "export")
    assert_one_line(run(tmp_path / "export"), message)
    assert not (tmp_path / "own").exists()


def test_label_studio_needs_its_tasks(run, tmp_path):
    label_studio(tmp_path / "export")
    (tmp_path / "export" / "project.json").unlink()
    assert_one_line(run(tmp_path / "export"), "export the project as JSON too")


def test_masks_of_two_annotators_are_not_painted_over_each_other(run, tmp_path):
    label_studio(tmp_path / "export")
    mask = next((tmp_path / "export").glob("task-30-annotation-90-*.png"))
    shutil.copy(mask, mask.with_name(mask.name.replace("annotation-90", "annotation-95")))
    assert_one_line(run(tmp_path / "export"), "task 30 has the annotations 90 and 95")


def test_label_studio_s_images_may_have_any_key(run, tmp_path):
    label_studio(tmp_path / "export")
    project = tmp_path / "export" / "project.json"
    project.write_text(project.read_text().replace('"image"', '"photograph"'))
    assert run(tmp_path / "export").status == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [("300, road", "expected lines LEVEL, CLASS, got '300, road'"), ("2, road", "the level 2 is")],
)
def test_roboflow_s_table_must_make_sense(run, tmp_path, line, message):
    roboflow(tmp_path / "export")
    (tmp_path / "export" / "train" / "_classes.csv").write_text(f"Level, Class\n2, tree\n{line}\n")
    assert_one_line(run(tmp_path / "export"), "_classes.csv", message)


def test_a_file_of_coco_must_be_whole(run, tmp_path):
    coco(tmp_path / "export")
    path = tmp_path / "export" / "panoptic_val.json"
    path.write_text(path.read_text().replace('"image_id": 2', '"image_id": 99'))
    assert_one_line(run(tmp_path / "export"), "panoptic_val.json", "KeyError: 99")


def test_a_damaged_mask_is_named(run, tmp_path):
    coco(tmp_path / "export")
    path = tmp_path / "export" / "panoptic_val" / f"{1:012}.png"
    path.write_bytes(path.read_bytes()[:60])
    assert_one_line(run(tmp_path / "export"), f"{1:012}.png: cannot be read")
    assert not (tmp_path / "own").exists()


def test_mmsegmentation_needs_names(run, tmp_path):
    mmsegmentation(tmp_path / "export")
    assert_one_line(run(tmp_path / "export"), "does not say what its ids mean", "--classes")


def test_no_option_is_dropped(run, tmp_path):
    cvat(tmp_path / "export")
    outcome = run(tmp_path / "export", "--classes=[a, b, c]")
    assert_one_line(outcome, "--classes: ", "has names of its own, background, road, tree")
    outcome = run(tmp_path / "export", f"--images={tmp_path}/nowhere")
    assert_one_line(outcome, "--images: no folder", "nowhere")


def test_nothing_is_written_over(run, tmp_path):
    cvat(tmp_path / "export")
    (tmp_path / "own").mkdir()
    assert_one_line(run(tmp_path / "export"), "own exists; choose another --output")
    assert_one_line(run(tmp_path / "export.zip"), "no folder")
