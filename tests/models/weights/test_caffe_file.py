"""Files of Caffe's: every form of the data, and what is no such file."""

import tracemalloc

import numpy as np
import pytest

from models.weights.caffe_file import read_caffemodel
from tests.models.readers import bytes_reader, refusal_of
from tests.models.weights.caffe_files import blob, caffe, caffemodel

KERNEL = np.random.default_rng(0).normal(size=(4, 3, 2, 2)).astype("float32")
BIAS = np.arange(4, dtype="float32")
LAYERS = {"conv1": [KERNEL, BIAS], "relu1": [], "scale1": [BIAS + 1]}


@pytest.fixture
def read(tmp_path):
    return bytes_reader(read_caffemodel, tmp_path / "net.caffemodel")


@pytest.fixture
def refusal(tmp_path):
    return refusal_of(read_caffemodel, tmp_path / "net.caffemodel")


def assert_layers(got, expected):
    assert list(got) == list(expected)
    for name, blobs in expected.items():
        assert [one.shape for one in got[name]] == [np.shape(one) for one in blobs]
        for ours, theirs in zip(got[name], blobs, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("packed", [True, False])
def test_both_ways_to_store_numbers(read, packed):
    assert_layers(read(caffemodel(LAYERS, packed=packed)), {k: v for k, v in LAYERS.items() if v})


@pytest.mark.parametrize("packed", [True, False])
def test_double_precision(read, packed):
    layers = {"conv1": [KERNEL.astype("float64") / 3]}
    got = read(caffemodel(layers, packed=packed))
    assert got["conv1"][0].dtype == np.float64
    assert_layers(got, layers)


def test_the_older_form_has_four_sides(read):
    got = read(caffemodel({"conv1": [KERNEL, BIAS]}, old=True))
    assert_layers(got, {"conv1": [KERNEL, BIAS.reshape(1, 1, 1, 4)]})


def test_a_number_without_sides(read):
    assert_layers(read(caffemodel({"bn": [np.float32([7]).reshape(())]})), {"bn": [7.0]})


def test_parts_of_a_message_are_joined(read):
    """Messages that stand behind each other are one, by the rules of the format."""
    one, two = caffe().BlobProto(data=[1, 2]), caffe().BlobProto(data=[3])
    one.shape.dim.append(1)
    two.shape.dim.append(3)
    joined = caffe().BlobProto.FromString(one.SerializeToString() + two.SerializeToString())
    layer = caffe().LayerParameter(name="conv1", blobs=[joined])
    content = caffe().NetParameter(layer=[layer]).SerializeToString()
    # The blob as two parts within a layer.
    parts = one.SerializeToString() + two.SerializeToString()
    raw = b"\x0a\x05conv1\x3a" + bytes([len(parts)]) + parts
    apart = b"\xa2\x06" + bytes([len(raw)]) + raw
    assert_layers(read(content), {"conv1": [np.float32([[1, 2, 3]])]})
    assert_layers(read(apart), {"conv1": [np.float32([[1, 2, 3]])]})


@pytest.mark.parametrize("packed", [True, False])
def test_arrays_are_read_only(read, packed):
    assert not read(caffemodel(LAYERS, packed=packed))["conv1"][0].flags.writeable


def test_cut_off_anywhere(read, refusal):
    """But between two layers, where a file may end."""
    first, both = (caffemodel({"a": [BIAS], **more}) for more in ({}, {"b": [BIAS]}))
    for length in range(len(both)):
        if length == len(first):
            assert list(read(both[:length])) == ["a"]
        else:
            refusal(both[:length])


def test_flipped_bits(read):
    content = caffemodel({"conv1": [KERNEL[:1], BIAS]})
    generator = np.random.default_rng(0)
    outcomes = {dict: 0, ValueError: 0}
    for position, bit in zip(
        generator.integers(len(content), size=400), generator.integers(8, size=400), strict=True
    ):
        flipped = bytearray(content)
        flipped[position] ^= 1 << bit
        try:
            outcome = type(read(bytes(flipped)))
        except ValueError:
            outcome = ValueError
        outcomes[outcome] += 1
    assert min(outcomes.values()) > 20


def raw_layer(blob_bytes: bytes) -> bytes:
    """Return a file of one layer "conv1" with one blob, all shorter than 128 bytes."""
    layer = b"\x0a\x05conv1\x3a" + bytes([len(blob_bytes)]) + blob_bytes
    return b"\xa2\x06" + bytes([len(layer)]) + layer


def varint(number: int) -> bytes:
    """Return a number below two millions as three bytes."""
    return bytes([number & 0x7F | 0x80, number >> 7 & 0x7F | 0x80, number >> 14])


HUGE = b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "holds no layer with weights"),
        (b"\x89PNG\r\n\x1a\n" * 9, "the network"),
        (b"PK\x03\x04" * 9, "the network"),
        (b"name: 'ResNet-101'\n", "the network"),
        (b"\x00\x01", "the network has a field 0"),
        (b"\x0b\x01", "the network has a field of the unknown type 3"),
        (b"\xa2\x06" + HUGE + b"x", "the network is cut off: 1 of "),
        (b"\x80" * 11, "number of too many bytes"),
        (b"\xa0\x06\x05", "the network has a field 100 of the wrong type"),
        (raw_layer(b"\x2a\x03abc"), "blob 0 of layer 'conv1' ends within a number"),
        (raw_layer(b"\x2a" + HUGE + b"ab"), "blob 0 of layer 'conv1' is cut off: 2 of "),
        (raw_layer(b"\x28\x07"), "blob 0 of layer 'conv1' has a field 5 of the wrong type"),
        (raw_layer(b"\x0d\x07\x00\x00\x00"), "blob 0 of layer 'conv1' has a field 1 of the wrong"),
        (raw_layer(b"\x3a\x0b\x0a\x09" + HUGE), "of layer 'conv1' of the sides (92233"),
        (raw_layer(b"\x3a\x23\x0a\x21" + b"\x01" * 33), "of layer 'conv1' has more than 32 sides"),
        (caffemodel({"conv\x1b[31m": [BIAS]}), "printable, not 'conv\\x1b[31m'"),
        (caffemodel({"relu1": []}), "holds no layer with weights"),
        (caffemodel({"a": [BIAS]}) * 2, "two layers are named 'a'"),
        (
            caffemodel({"conv1": [caffe().BlobProto(data=[1, 2], num=3, channels=1)]}),
            "blob 0 of layer 'conv1' of the sides (3, 1, 0, 0) holds 2 values",
        ),
    ],
)
def test_what_is_no_such_file_is_refused(content, reason, refusal):
    assert reason in refusal(content)


def test_negative_sides_are_refused(refusal):
    wrong = blob(BIAS)
    wrong.shape.dim[:] = [-2, -2]
    assert "blob 1 of layer 'conv1'" in refusal(caffemodel({"conv1": [KERNEL, wrong]}))


def test_sizes_are_checked_before_memory_is_asked_for(refusal):
    wrong = blob(BIAS)
    wrong.shape.dim[:] = [2**40, 2**20]
    tracemalloc.start()
    try:
        refusal(caffemodel({"conv1": [wrong]}))
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_sides_are_counted_as_they_come(refusal):
    """In shapes of one side each: to join and count them at the end took quadratic time."""
    parts = b"\x3a\x02\x08\x01" * 30_000
    layer = b"\x0a\x05conv1\x3a" + varint(len(parts)) + parts
    tracemalloc.start()
    try:
        content = b"\xa2\x06" + varint(len(layer)) + layer
        assert "has more than 32 sides" in refusal(content)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_numbers_that_are_not_packed_take_little_more_than_their_own_memory(read):
    content = caffemodel({"conv1": [np.zeros(20_000, "float32")]}, packed=False)
    tracemalloc.start()
    try:
        read(content)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(content)
    finally:
        tracemalloc.stop()


def test_names_of_a_layer_take_no_memory_but_the_last(read):
    layer = b"\x0a\x01a" * 30_000 + b"\x0a\x05conv1"
    content = b"\xa2\x06" + varint(len(layer)) + layer + caffemodel({"conv2": [BIAS]})
    tracemalloc.start()
    try:
        assert list(read(content)) == ["conv2"]
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_what_is_not_asked_for_takes_no_memory(read):
    layer = b"\x0a\x05conv1" + b"\x1a\x00" * 30_000  # names of layers below, all empty
    content = b"\xa2\x06" + varint(len(layer)) + layer + caffemodel({"conv2": [BIAS]})
    tracemalloc.start()
    try:
        assert_layers(read(content), {"conv2": [BIAS]})
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_caffemodel(tmp_path / "missing.caffemodel")
