"""Label maps of every flavour come out as the ids their author meant, or not at all."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from train.datasets import CAMVID, SCENES, Sample
from train.errors import UserError
from train.palette import IGNORED, colour_table
from train.reading import DataError, decode_labels, read_all, verify

IDS = np.random.default_rng(0).integers(0, 11, [9, 7]).astype(np.uint8)
IDS[0, :3] = IGNORED


def png(picture, **options):
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", **options)
    return buffer.getvalue()


def colours_of(dataset):
    return colour_table(dataset.colours, dataset.ignored_colours[0])


def palette(ids, table):
    picture = Image.fromarray(ids)
    picture.putpalette(table.tobytes())
    return picture


def in_graph(contents, dataset):
    return tf.function(lambda contents: decode_labels(contents, dataset))(tf.constant(contents))


FLAVOURS = {
    "grey": lambda dataset: png(Image.fromarray(IDS)),
    "palette": lambda dataset: png(palette(IDS, colours_of(dataset))),
    "rgb": lambda dataset: png(Image.fromarray(colours_of(dataset)[IDS])),
    "interlaced": lambda dataset: png(Image.fromarray(IDS), interlace=1),
}


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("dataset", [SCENES, CAMVID], ids=lambda dataset: dataset.name)
@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
def test_every_flavour_gives_the_same_ids(flavour, dataset, graph):
    contents = tf.constant(FLAVOURS[flavour](dataset))
    decode = in_graph if graph else decode_labels
    np.testing.assert_array_equal(decode(contents, dataset), IDS)


def test_a_small_palette_of_few_bits():
    ids = np.arange(4, dtype=np.uint8).reshape(2, 2)
    picture = palette(ids, colours_of(SCENES)[:4])
    np.testing.assert_array_equal(decode_labels(png(picture, bits=2), SCENES), ids)


def test_camvid_calls_ignored_11():
    contents = png(Image.fromarray(np.where(IDS == IGNORED, 11, IDS).astype(np.uint8)))
    np.testing.assert_array_equal(decode_labels(contents, CAMVID), IDS)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (png(Image.fromarray(IDS.astype(np.uint16))), "colour type 0, 16 bits"),
        (png(Image.new("RGBA", (3, 3))), "colour type 6"),
        (png(Image.new("1", (3, 3))), "colour type 0, 1 bits"),
        (b"GIF89a" + bytes(40), "no PNG"),
        (b"", "no PNG"),
        (png(Image.fromarray(np.full([2, 2], 37, np.uint8))), r"in \[0, 11\) .*found 37"),
        (png(Image.new("RGB", (3, 3), (1, 2, 3))), r"colour 1, 2, 3 of pixel 0, 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(contents, message):
    with pytest.raises(DataError, match=message):
        decode_labels(contents, SCENES)
    with pytest.raises(tf.errors.InvalidArgumentError):
        in_graph(contents, SCENES)


@pytest.fixture
def good_and_bad(tmp_path):
    """Makes a list of a good sample and one whose files are given."""

    def make(labels, image=None):
        samples = []
        for name, files in {
            "good": (png(Image.new("RGB", (7, 9))), png(Image.fromarray(IDS))),
            "bad": (png(Image.new("RGB", (7, 9))) if image is None else image, labels),
        }.items():
            paths = [tmp_path / f"{name}.{kind}.png" for kind in ("image", "labels")]
            for path, contents in zip(paths, files, strict=True):
                path.write_bytes(contents)
            samples.append(Sample(*paths))
        return samples

    return make


GREY = png(Image.fromarray(IDS))


@pytest.mark.parametrize(
    ("labels", "image", "message"),
    [
        (GREY[:-20], None, r"bad.labels.png: cannot be decoded"),
        (GREY[:-20] + b"\0" * 20, None, r"bad.labels.png: cannot be decoded"),
        (GREY, png(Image.new("RGB", (7, 9)))[:60], r"bad.image.png: cannot be decoded"),
        (GREY, b"", r"bad.image.png: cannot be decoded"),
        (GREY, png(Image.new("RGB", (9, 7))), r"bad.labels.png: the image is 7, 9 .* map 9, 7"),
        (png(Image.fromarray(IDS + 5)), None, r"bad.labels.png: label ids .*found .*12"),
    ],
    ids=["truncated", "zeroed", "truncated image", "empty image", "size", "ids"],
)
def test_the_bad_file_is_named(good_and_bad, labels, image, message):
    samples = good_and_bad(labels, image)
    with pytest.raises(UserError, match=message):
        verify(samples, SCENES)


def test_good_files_pass(train_samples):
    verify(train_samples, SCENES)
    for (image, ids), sample in zip(read_all(train_samples, SCENES), train_samples, strict=True):
        # Decoders of JPEG differ in the last bits.
        np.testing.assert_allclose(image, np.asarray(Image.open(sample.image)), atol=8)
        np.testing.assert_array_equal(ids, np.asarray(Image.open(sample.labels)))
