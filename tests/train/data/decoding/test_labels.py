"""Label maps of every flavour come out as the ids their author meant, or not at all."""

import functools
import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from train.data.datasets.camvid import CAMVID
from train.data.datasets.registry import DATASETS, SCENES
from train.data.decoding.errors import DataError
from train.data.decoding.labels import decode_labels as decode
from train.data.decoding.palette import IGNORED, color_table

IDS = np.random.default_rng(0).integers(0, 11, [9, 7]).astype(np.uint8)
IDS[0, :3] = IGNORED


def png(picture, **options):
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", **options)
    return buffer.getvalue()


def colors_of(dataset):
    return color_table(dataset.colors, dataset.ignored_colors[0])


TABLE = colors_of(SCENES)


def palette(ids, table):
    picture = Image.fromarray(ids)
    picture.putpalette(table.tobytes())
    return picture


def decode_labels(contents, dataset):
    return decode(contents, dataset.encoding)


@functools.cache
def graph(name):
    """Return a graph that decodes label maps of a dataset, of all flavours."""
    signature = [tf.TensorSpec([], tf.string)]
    return tf.function(lambda contents: decode_labels(contents, DATASETS[name]), signature)


def in_graph(contents, dataset):
    return graph(dataset.name)(tf.constant(contents))


# Of Adam7: first row and column, and their steps, of each pass.
PASSES = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
PASSES += [(1, 0, 2, 1)]


def interlaced(ids):
    """Return a gray PNG whose pixels come in seven passes, which Pillow does not write."""
    height, width = ids.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1)
    lines = []
    for row, column, rows, columns in PASSES:
        if (part := ids[row::rows, column::columns]).size:
            lines += [b"\0" + line.tobytes() for line in part]
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"".join(lines))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


FLAVOURS = {
    "gray": lambda dataset: png(Image.fromarray(IDS)),
    "palette": lambda dataset: png(palette(IDS, colors_of(dataset))),
    "rgb": lambda dataset: png(Image.fromarray(colors_of(dataset)[IDS])),
    "interlaced": lambda dataset: interlaced(IDS),
}


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("dataset", [SCENES, CAMVID], ids=lambda dataset: dataset.name)
@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
def test_every_flavour_gives_the_same_ids(flavour, dataset, graph):
    contents = tf.constant(FLAVOURS[flavour](dataset))
    decode = in_graph if graph else decode_labels
    np.testing.assert_array_equal(decode(contents, dataset), IDS)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palettes_of_few_bits(bits):
    ids = np.arange(2 ** min(bits, 3), dtype=np.uint8).reshape(2, -1)
    picture = palette(ids, colors_of(SCENES)[: 2**bits])
    np.testing.assert_array_equal(decode_labels(png(picture, bits=bits), SCENES), ids)


def test_a_transparent_entry_of_a_palette_keeps_its_id():
    contents = png(palette(IDS, colors_of(SCENES)), transparency=3)
    np.testing.assert_array_equal(decode_labels(contents, SCENES), IDS)


def test_camvid_calls_ignored_11():
    contents = png(Image.fromarray(np.where(IDS == IGNORED, 11, IDS).astype(np.uint8)))
    np.testing.assert_array_equal(decode_labels(contents, CAMVID), IDS)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (png(Image.fromarray(IDS.astype(np.uint16))), "8 bits per channel; this PNG has 16"),
        (png(Image.new("RGBA", (3, 3))), "without alpha; this PNG has color type 6"),
        (png(Image.new("1", (3, 3))), "8 bits per channel; this PNG has 1"),
        (b"GIF89a" + bytes(40), "must be a PNG"),
        (b"", "must be a PNG"),
        (png(Image.fromarray(np.full([2, 2], 37, np.uint8))), r"among 0-10, 255, found 37"),
        (png(Image.new("RGB", (3, 3), (1, 2, 3))), r"color 1, 2, 3 of pixel 0, 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(contents, message):
    with pytest.raises(DataError, match=message):
        decode_labels(contents, SCENES)
    with pytest.raises(tf.errors.InvalidArgumentError):
        in_graph(contents, SCENES)


def test_entries_of_a_palette_that_no_pixel_has_may_be_equal():
    table = colors_of(SCENES)
    assert len(np.unique(table, axis=0)) == 256
    table[SCENES.num_classes : IGNORED] = 0  # as many programs fill up palettes
    np.testing.assert_array_equal(decode_labels(png(palette(IDS, table)), SCENES), IDS)


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
def test_two_indices_of_one_color_are_refused(graph):
    """What Pillow makes of a short palette: 255, ignored, is black, as the first class is."""
    table = colors_of(SCENES)
    table[IGNORED] = table[0]
    contents = png(palette(IDS, table))
    if graph:
        with pytest.raises(tf.errors.InvalidArgumentError, match="values without a meaning"):
            in_graph(contents, SCENES)
    else:
        with pytest.raises(DataError, match="two entries of the palette have the color 128, 128"):
            decode_labels(contents, SCENES)


def test_a_palette_filled_up_with_the_color_of_a_class_keeps_its_id():
    """Many tools fill up with black, which is the background's color too: its index is its id."""
    table = colors_of(SCENES)
    table[SCENES.num_classes : IGNORED] = table[0]
    np.testing.assert_array_equal(decode_labels(png(palette(IDS, table)), SCENES), IDS)
    swapped = IDS.copy()
    swapped[1, 1] = SCENES.num_classes  # the same color by an index that is no id
    with pytest.raises(DataError, match="two entries of the palette have the color"):
        decode_labels(png(palette(swapped, table)), SCENES)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_many_values_without_a_meaning_look_like_a_smoothed_mask(mode):
    smooth = np.linspace(20, 200, 63).reshape(9, 7).astype(np.uint8)
    contents = png(Image.fromarray(smooth).convert(mode))
    with pytest.raises(DataError, match=r"; \d+ of them look like a mask that was smoothed"):
        decode_labels(contents, SCENES)
    smooth[1:] = 3
    smooth[:2] = 77
    with pytest.raises(DataError) as error:
        decode_labels(png(Image.fromarray(smooth).convert(mode)), SCENES)
    assert "smoothed" not in str(error.value)


def test_a_jpeg_as_label_map_is_refused():
    buffer = io.BytesIO()
    Image.fromarray(IDS).save(buffer, "JPEG")
    with pytest.raises(DataError, match="must be a PNG: other formats blur or change ids"):
        decode_labels(buffer.getvalue(), SCENES)


@pytest.mark.parametrize("entry", [(1, 2, 3), TABLE[254]], ids=["unknown", "not the only one"])
def test_pixels_of_255_are_ignored_only_where_the_palette_says_so(entry):
    table = TABLE.copy()
    table[IGNORED] = entry
    with pytest.raises(DataError, match=", ".join(map(str, entry))):
        decode_labels(png(palette(IDS, table)), SCENES)
    labelled = np.where(IDS == IGNORED, 0, IDS)
    np.testing.assert_array_equal(decode_labels(png(palette(labelled, table)), SCENES), labelled)


def test_an_index_beyond_the_palette_is_named():
    """Pillow writes so short a palette in 4 bits, and 255 becomes 15."""
    picture = Image.fromarray(IDS)
    picture.putpalette(colors_of(SCENES)[: SCENES.num_classes].tobytes())
    with pytest.raises(DataError, match="index 15 is beyond the palette's 11 colors"):
        decode_labels(png(picture), SCENES)


def test_a_transparent_color_keeps_its_class():
    contents = png(Image.fromarray(colors_of(SCENES)[IDS]), transparency=SCENES.colors[3])
    np.testing.assert_array_equal(decode_labels(contents, SCENES), IDS)
