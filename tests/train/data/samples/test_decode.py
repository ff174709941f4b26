"""Samples as files: read as other programs read them; what is wrong is named, file by file."""

import io

import numpy as np
import pytest
from PIL import Image

from train.common.errors import UserError
from train.data.datasets.registry import SCENES
from train.data.decoding.palette import IGNORED
from train.data.samples.decode import find_fault, raise_first_fault, read_all
from train.data.samples.samples import FileSamples
from train.data.samples.statistics import collect_statistics, validate_samples

IDS = np.random.default_rng(0).integers(0, 11, [9, 7]).astype(np.uint8)
IDS[0, :3] = IGNORED


def encoded(picture, kind="PNG"):
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


IMAGE = encoded(Image.new("RGB", (7, 9)))
LABELS = encoded(Image.fromarray(IDS))
# What is wrong with the image or the labels, and what is said of the file.
WRONG = {
    "truncated labels": (IMAGE, LABELS[:-20], "{labels}: cannot be decoded"),
    "zeroed labels": (IMAGE, LABELS[:-20] + bytes(20), "{labels}: cannot be decoded"),
    "empty labels": (IMAGE, b"", "{labels}: the file is empty"),
    "other ids": (IMAGE, encoded(Image.fromarray(IDS + 5)), "{labels}: label ids of scenes must"),
    "truncated image": (IMAGE[:60], LABELS, "{image}: cannot be decoded"),
    "empty image": (b"", LABELS, "{image}: the file is empty"),
    "another size": (
        encoded(Image.new("RGB", (9, 7))),
        LABELS,
        "{labels}: the image is 7, 9 (height, width), its label map 9, 7",
    ),
    "GIF": (
        encoded(Image.new("RGB", (7, 9)), "GIF"),
        LABELS,
        "{image}: an image must be a JPEG or PNG",
    ),
    "BMP": (
        encoded(Image.new("RGB", (7, 9)), "BMP"),
        LABELS,
        "{image}: an image must be a JPEG or PNG",
    ),
}


def write(folder, *samples):
    """Files from pairs of an image's and a label map's bytes."""
    paths = []
    for i, files in enumerate(samples):
        paths.append([folder / f"{i}.{kind}.png" for kind in ("image", "labels")])
        for path, contents in zip(paths[-1], files, strict=True):
            path.write_bytes(contents)
    return FileSamples(SCENES.encoding, *zip(*paths, strict=True))


def test_every_wrong_file_is_named_and_no_other(tmp_path):
    samples = write(tmp_path, (IMAGE, LABELS), *(files for *files, _ in WRONG.values()))
    statistics = collect_statistics(samples, SCENES.num_classes)
    assert [*statistics.faults] == [*range(1, 1 + len(WRONG))]
    for i, (*_, message) in enumerate(WRONG.values(), start=1):
        names = {"image": samples.images[i], "labels": samples.labels[i]}
        assert statistics.faults[i].startswith(message.format(**names))
        assert "\n" not in statistics.faults[i]


def test_what_good_samples_hold_is_counted(tmp_path):
    other = np.full([4, 5], 2, np.uint8)
    files = encoded(Image.new("RGB", (5, 4), "red")), encoded(Image.fromarray(other))
    samples = write(tmp_path, (IMAGE, LABELS), files, (IMAGE, files[1][:-20]))
    statistics = collect_statistics(samples, SCENES.num_classes)
    for row, ids in zip(statistics.pixels, (IDS, other, np.array([])), strict=True):
        expected = [np.count_nonzero(ids == i) for i in range(SCENES.num_classes)]
        assert row.tolist() == expected  # none of what is wrong
    assert statistics.ignored.tolist() == [3, 0, 0]
    assert statistics.sizes[:2].tolist() == [[9, 7], [4, 5]]


def test_good_files_are_read_as_pillow_reads_them(train_samples):
    names = zip(train_samples.images, train_samples.labels, strict=True)
    for (image, ids), (image_name, labels_name) in zip(read_all(train_samples), names, strict=True):
        # Decoders of JPEG differ in the last bits.
        np.testing.assert_allclose(image, np.asarray(Image.open(image_name)), atol=8)
        np.testing.assert_array_equal(ids, np.asarray(Image.open(labels_name)))


def test_a_wrong_sample_is_an_error_or_left_out(tmp_path):
    samples = write(tmp_path, (IMAGE, LABELS[:-20]), (IMAGE, LABELS), (b"", LABELS))
    with pytest.raises(UserError, match="0.labels.png: cannot be decoded .and 1 more: "):
        validate_samples(samples, SCENES.num_classes)
    good, statistics, faults = validate_samples(samples, SCENES.num_classes, skip=True)
    assert good.labels == samples.labels[1:2]
    assert len(statistics.pixels) == 1
    assert statistics.ignored.tolist() == [3]
    for fault, message in zip(faults, ("0.labels.png: cannot", "2.image.png: the"), strict=True):
        assert message in fault
    assert validate_samples(good, SCENES.num_classes)[2] == []


def test_a_split_without_a_good_sample_is_an_error(tmp_path):
    samples = write(tmp_path, (IMAGE, LABELS[:-20]))
    with pytest.raises(UserError, match="no sample is left of 1: .*0.labels.png"):
        validate_samples(samples, SCENES.num_classes, skip=True)


def test_the_first_fault_is_looked_for(tmp_path):
    samples = write(tmp_path, (IMAGE, LABELS), (IMAGE, LABELS), (b"", LABELS), (IMAGE, b""))
    assert find_fault(samples, 0) is None
    with pytest.raises(UserError, match="2.image.png: the file is empty"):
        raise_first_fault(samples)
    raise_first_fault(samples.subset([1, 0]))


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path):
    samples = write(tmp_path, (IMAGE, LABELS))
    samples.labels[0].unlink()
    samples.labels[0].mkdir()
    fault = find_fault(samples, 0)
    assert fault.startswith(f"{samples.images[0]}: cannot be read: {samples.labels[0]}")
    assert fault.lower().endswith("is a directory")
