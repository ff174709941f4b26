import hashlib

import numpy as np
import pytest
from PIL import Image

from train.data.datasets import scenes
from train.data.datasets.scenes import files
from train.data.datasets.scenes.render import label
from train.data.decoding.palette import IGNORED

CLASSES = len(scenes.CLASS_NAMES)
HEIGHT, WIDTH = 144, 192
COLOR_LEVELS = 16


def _stack(seeds):
    images, labels = zip(*(scenes.render(seed, HEIGHT, WIDTH) for seed in seeds), strict=True)
    return np.stack(images), np.stack(labels)


@pytest.fixture(scope="module")
def sample():
    return _stack(range(60))


@pytest.fixture(scope="module")
def unseen():
    return _stack(range(60, 90))


def _shares(labels):
    counts = np.bincount(labels.ravel(), minlength=256)[:CLASSES]
    return dict(zip(scenes.CLASS_NAMES, counts / counts.sum(), strict=True))


@pytest.mark.parametrize(("height", "width"), [(144, 192), (120, 160), (97, 133)])
def test_shape_and_type(height, width):
    image, labels = scenes.render(3, height, width)
    assert (image.shape, image.dtype) == ((height, width, 3), np.uint8)
    assert (labels.shape, labels.dtype) == ((height, width), np.uint8)


def test_seed_decides_every_byte():
    first, again, other = (scenes.render(seed, HEIGHT, WIDTH) for seed in (5, 5, 6))
    for one, two, three in zip(first, again, other, strict=True):
        assert one.tobytes() == two.tobytes()
        assert one.tobytes() != three.tobytes()


def test_labels_are_classes_or_ignored(sample):
    assert set(np.unique(sample[1])) == {*range(CLASSES), IGNORED}


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("sky", 1.0),
        ("building", 1.0),
        ("pole", 0.8),
        ("road", 1.0),
        ("pavement", 1.0),
        ("tree", 0.9),
        ("sign", 0.7),
        ("fence", 0.7),
        ("car", 0.8),
        ("pedestrian", 0.7),
        ("bicyclist", 0.5),
    ],
)
def test_each_class_is_in_most_scenes(sample, name, least):
    pixels = (sample[1] == scenes.CLASS_NAMES.index(name)).sum(axis=(1, 2))
    assert (pixels >= 30).mean() >= least


def test_class_shares_have_a_long_tail(sample):
    shares = _shares(sample[1])
    assert sum(shares[name] for name in ("sky", "building", "road", "tree")) > 0.7
    for name in ("sign", "pedestrian", "bicyclist"):
        assert 0.005 < shares[name] < 0.025
    assert max(shares.values()) > 15 * min(shares.values())


def test_different_classes_never_touch(sample):
    for labels in sample[1]:
        for one, two in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
            known = (one != IGNORED) & (two != IGNORED)
            assert np.array_equal(one[known], two[known])


def test_contour_is_one_pixel_wide_and_outside_the_nearer_object():
    numbers = np.zeros((6, 7), np.uint8)
    numbers[2:4, 2:5] = 1
    void = IGNORED
    assert label(numbers, [4, 8]).tolist() == [
        [4, 4, 4, 4, 4, 4, 4],
        [4, 4, void, void, void, 4, 4],
        [4, void, 8, 8, 8, void, 4],
        [4, void, 8, 8, 8, void, 4],
        [4, 4, void, void, void, 4, 4],
        [4, 4, 4, 4, 4, 4, 4],
    ]


def test_objects_of_one_class_are_parted():
    assert label(np.array([[0, 0, 1, 1]]), [8, 8]).tolist() == [[8, IGNORED, 8, 8]]


def test_most_pixels_count(sample):
    assert 0.03 < (sample[1] == IGNORED).mean() < 0.09


def _bins(images):
    red, green, blue = np.moveaxis(images.astype(np.int64) * COLOR_LEVELS // 256, -1, 0)
    return (red * COLOR_LEVELS + green) * COLOR_LEVELS + blue


def _mean_iou(labels, answers):
    confusion = np.bincount(labels * CLASSES + answers, minlength=CLASSES**2)
    confusion = confusion.reshape(CLASSES, CLASSES)
    hits = np.diag(confusion)
    return (hits / (confusion.sum(axis=0) + confusion.sum(axis=1) - hits)).mean()


def test_color_alone_does_not_tell_the_classes(sample, unseen):
    """The most frequent class of each color, learnt on one sample, scored on another."""
    images, labels = sample
    known = labels != IGNORED
    pairs = _bins(images)[known] * CLASSES + labels[known]
    counts = np.bincount(pairs, minlength=COLOR_LEVELS**3 * CLASSES)
    best = counts.reshape(-1, CLASSES).argmax(axis=1)
    images, labels = unseen
    known = labels != IGNORED
    score = _mean_iou(labels[known].astype(np.int64), best[_bins(images)[known]])
    assert 1.0 / CLASSES < score < 0.3


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "scenes"
    scenes.write(root, train=3, val=2, height=60, width=80, seed=7)
    return root


def _names(root, split):
    return (root / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().splitlines()


def test_splits_are_apart_and_complete(written):
    train, val = _names(written, "train"), _names(written, "val")
    assert (len(train), len(val)) == (3, 2)
    for folder in ("JPEGImages", "SegmentationClass"):
        assert {path.stem for path in (written / folder).iterdir()} == {*train, *val}


def test_files_hold_what_was_rendered(written):
    for seed, name in enumerate(_names(written, "train") + _names(written, "val"), start=7):
        image, labels = scenes.render(seed, 60, 80)
        with Image.open(written / "SegmentationClass" / f"{name}.png") as stored:
            assert np.array_equal(np.asarray(stored), labels)
        with Image.open(written / "JPEGImages" / f"{name}.jpg") as stored:
            assert stored.size == (80, 60)
            assert np.abs(np.asarray(stored, np.float64) - image).mean() < 8.0


def test_palette_shows_the_class_colors(written):
    with Image.open(next((written / "SegmentationClass").iterdir())) as stored:
        assert stored.mode == "P"
        palette = np.reshape(stored.getpalette(), (-1, 3))
    assert np.array_equal(palette[:CLASSES], scenes.COLORS)
    assert tuple(palette[IGNORED]) == scenes.IGNORED_COLOR


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch, error):
    def fail_at_third(seed, height, width):
        if seed == 2:
            raise error
        return scenes.render(seed, height, width)

    monkeypatch.setattr(files, "render", fail_at_third)
    with pytest.raises(error):
        scenes.write(tmp_path / "scenes", train=3, val=1, height=48, width=64)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_dataset_is_kept(written):
    before = _names(written, "train")
    with pytest.raises(OSError, match=str(written)):
        scenes.write(written, train=1, val=1, height=48, width=64)
    assert _names(written, "train") == before


def test_writing_twice_gives_the_same_files(tmp_path):
    digests = []
    for name in ("one", "two"):
        scenes.write(tmp_path / name, train=2, val=1, height=48, width=64)
        paths = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        digests.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in paths])
    assert digests[0] == digests[1]
