"""What `python -m train bench-input` measures: made-up files, the peer's work, and the table."""

import itertools
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.commands import command
from train.bench import pillow_baseline
from train.bench.files import SETTINGS, make_up
from train.data.decoding.palette import IGNORED
from train.data.samples.decode import read_all
from train.data.samples.records import RecordSamples

ROOT = Path(__file__).parents[3]
SMALL = [replace(setting, height=30, width=40) for setting in SETTINGS]
COUNT = 3
CROP = 16


@pytest.fixture(scope="module", params=SMALL, ids=lambda setting: setting.dataset.name)
def made(request, tmp_path_factory):
    """Return a setting, its files and its records."""
    root = tmp_path_factory.mktemp("made") / "up"
    return request.param, *make_up(request.param, COUNT, root)


def crops(files, scale, crop=CROP, count=20):
    """Crops of the first file, with seeds of their own."""
    table = files.encoding.gray_table
    for seed in range(count):
        random = np.random.default_rng(seed)
        yield pillow_baseline._sample(files.images[0], files.labels[0], table, crop, scale, random)


def contents(files):
    """Image and ids of the first file."""
    ((image, ids),) = read_all(files.subset([0]))
    return image.numpy(), ids.numpy()


def test_made_up_files_are_of_the_size_and_kind_of_the_setting(made):
    setting, files, _ = made
    assert len(files) == COUNT
    assert {path.suffix for path in files.images} == {setting.suffix}
    for image, ids in read_all(files):
        assert image.shape == (30, 40, 3)
        assert ids.shape == (30, 40)
        assert {*np.unique(ids)} <= {*range(setting.dataset.num_classes), IGNORED}
        assert len(np.unique(ids)) > 1
        assert image.numpy().std() > 10


def test_records_are_of_the_files(made):
    _, files, records = made
    assert isinstance(records, RecordSamples)
    assert len(records) == COUNT
    assert records.read(1)[0].numpy() == files.images[1].read_bytes()


def test_equal_calls_make_equal_files(made, tmp_path):
    setting, files, _ = made
    again, _ = make_up(setting, 1, tmp_path / "again")
    assert again.images[0].read_bytes() == files.images[0].read_bytes()
    assert again.labels[0].read_bytes() == files.labels[0].read_bytes()


def test_the_peer_s_crops_are_parts_of_the_files_where_nothing_is_scaled(made):
    """Mirrored or not."""
    _, files, _ = made
    ids = contents(files)[1]
    image = np.asarray(Image.open(files.images[0]))  # decoders of JPEG differ by a gray level
    places = [(y, x) for y in range(30 - CROP + 1) for x in range(40 - CROP + 1)]
    for part, part_ids in crops(files, (1.0, 1.0)):
        assert any(
            np.array_equal(whole[y : y + CROP, x : x + CROP], part)
            and np.array_equal(whole_ids[y : y + CROP, x : x + CROP], part_ids)
            for whole, whole_ids in ((image, ids), (image[:, ::-1], ids[:, ::-1]))
            for y, x in places
        )


def test_the_peer_s_crops_differ(made):
    _, files, _ = made
    assert len({part.tobytes() for part, _ in crops(files, (1.0, 1.0))}) > 10


def test_the_peer_interpolates_no_ids(made, tmp_path):
    setting, files, _ = made
    ids = np.zeros([30, 40], np.uint8)
    ids[::3, ::2] = 33 if setting.dataset.name == "cityscapes" else 20  # the last class
    Image.fromarray(ids).save(tmp_path / "labels.png")
    files = replace(files, labels=(tmp_path / "labels.png", *files.labels[1:]))
    for part, part_ids in crops(files, (0.6, 2.0)):
        assert (part.shape, part.dtype) == ((CROP, CROP, 3), np.uint8)
        assert (part_ids.shape, part_ids.dtype) == ((CROP, CROP), np.uint8)
        first = 255 if setting.dataset.name == "cityscapes" else 0  # what 0 means in the file
        assert {*np.unique(part_ids)} <= {first, setting.dataset.num_classes - 1}


def test_the_peer_fills_what_is_too_small_and_ignores_it(made):
    _, files, _ = made
    for part, ids in crops(files, (0.5, 0.5), crop=32):
        outside = np.ones([32, 32], bool)
        outside[:15, :20] = False
        if (part[:, 0] == 128).all():
            outside = outside[:, ::-1]  # mirrored
        assert (part[outside] == 128).all()
        assert (ids[outside] == IGNORED).all()
        assert (part[~outside] != 128).any()
        assert (ids[~outside] != IGNORED).any()


def test_the_peer_counts_whole_batches(made, monkeypatch):
    _, files, _ = made
    clock = itertools.count()  # a second between two looks
    monkeypatch.setattr(pillow_baseline.time, "perf_counter", lambda: next(clock))
    options = (files.images, files.labels, files.encoding.gray_table, CROP, (1.0, 1.0))
    # Looked at before each of two batches, and after 3 and 4 seconds.
    assert pillow_baseline.rate(*options, seconds=3, seed=0) == 2 * pillow_baseline.BATCH / 4


@pytest.mark.slow
def test_the_peer_needs_no_tensorflow():
    code = (
        "import sys, train.bench.pillow_baseline; "
        "print([m for m in sys.modules if 'tensorflow' in m])"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert outcome.stdout == "[]\n"


@pytest.mark.slow
def test_the_table_has_a_row_for_each_setting_and_crop(monkeypatch, capfd):
    monkeypatch.setenv("COLUMNS", "170")
    options = ["--images=8", "--rounds=1", "--seconds=1", "--epochs=2"]
    outcome = command(monkeypatch, capfd, "train", "bench-input", *options)
    assert (outcome.status, outcome.err) == (0, "")
    assert "images/s, median of 1 rounds, batches of 8" in outcome.out
    lines = [line for line in outcome.out.splitlines() if line.startswith("│")]
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines]
    assert [row[:2] for row in rows] == [
        [setting.name, str(crop)] for setting in SETTINGS for crop in setting.crops
    ]
    for row in rows:
        decoding, files, share, records, rate, *ratios, crop_first, last = row[2:]
        assert min(map(int, (decoding, files, records, rate, crop_first))) > 0
        assert re.fullmatch(r"\d+%", share)
        for ratio in (*ratios, last):
            assert re.fullmatch(r"\d+\.\d\d ×", ratio)
    memory = r"^peak memory after 2 epochs \d+ MB, after 2 \d+ MB$"
    assert re.search(memory, outcome.out, re.MULTILINE)


def test_a_peer_that_crops_first_makes_the_same_crops(made):
    _, files, _ = made
    for scale in ((1.0, 1.0), (2.0, 2.0), (0.5, 0.5)):
        random = np.random.default_rng(0)
        sample = (files.images[0], files.labels[0], files.encoding.gray_table, CROP, scale, random)
        image, ids = pillow_baseline._sample(*sample, crop_first=True)
        assert image.shape == (CROP, CROP, 3)
        assert ids.shape == (CROP, CROP)
        assert (ids != 255).any()
