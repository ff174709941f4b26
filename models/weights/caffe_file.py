"""Layers of .caffemodel files, read without Caffe: they are plain data, and no code runs."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# Numbers of the fields in caffe.proto. Layers come in a newer and an older form.
_NET_LAYER, _NET_OLD_LAYER = 100, 2
_LAYER_FIELDS = {_NET_LAYER: (1, 7), _NET_OLD_LAYER: (4, 6)}  # name, blobs
_BLOB_FLOATS, _BLOB_SHAPE, _BLOB_DOUBLES = 5, 7, 8
_BLOB_SIDES = (1, 2, 3, 4)  # of the older form: number, channels, height, width
_SHAPE_SIDES = 1

# How the values of a field are stored.
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_FIXED_SIZES = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}

_LONGEST_VARINT = 10
# The most dimensions of a blob in Caffe.
_MOST_DIMENSIONS = 32


class _Field(NamedTuple):
    number: int
    kind: int
    value: Any  # int of a varint, memoryview of all others


def read_caffemodel(path: str | os.PathLike) -> dict[str, list[np.ndarray]]:
    """Read the weights of a .caffemodel file, Caffe's message `NetParameter`.

    Args:
        path: The file.

    Returns:
        The blobs of each layer that has some, by its name, in the file's order and axes (kernels:
        output, input, height, width). Those of the older form have four sides. Read-only: they are
        views of what was read, where its numbers are packed.

    Raises:
        ValueError: if the file is of another format, cut off or inconsistent.
        OSError: if the file cannot be read.

    Example:
        >>> read_caffemodel(__file__)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: `path` must be a .caffemodel file. Received: path='...' (...)

    Reference:
        The fields are those of github.com/BVLC/caffe, src/caffe/proto/caffe.proto.
    """
    data = memoryview(Path(path).read_bytes())
    try:
        return _layers(data)
    except ValueError as error:
        raise ValueError(
            f"`path` must be a .caffemodel file. Received: path={str(path)!r} ({error})"
        ) from error


def _layers(data: memoryview) -> dict[str, list[np.ndarray]]:
    layers: dict[str, list[np.ndarray]] = {}
    for field in _fields(data, "the network"):
        if field.number not in _LAYER_FIELDS:
            continue
        name, blobs = _layer(_bytes(field, "the network"), *_LAYER_FIELDS[field.number])
        if blobs and name in layers:
            raise ValueError(f"two layers are named {name!r}")
        if blobs:
            layers[name] = blobs
    if not layers:
        raise ValueError("it holds no layer with weights")
    return layers


def _layer(data: memoryview, name_field: int, blob_field: int) -> tuple[str, list[np.ndarray]]:
    last_name: memoryview | bytes = b""
    parts: list[memoryview] = []
    for field in _fields(data, "a layer"):
        if field.number == name_field:
            last_name = _bytes(field, "a layer")
        elif field.number == blob_field:
            parts.append(_bytes(field, "a layer"))
    name = bytes(last_name).decode(errors="replace")
    if not name.isprintable():
        raise ValueError(f"the names of layers must be printable, not {name!r}")
    return name, [_blob(part, f"blob {i} of layer {name!r}") for i, part in enumerate(parts)]


def _blob(data: memoryview, place: str) -> np.ndarray:
    sides: list[int] = []
    old_sides = [0, 0, 0, 0]
    old = False
    floats: memoryview | bytearray = memoryview(b"")
    doubles: memoryview | bytearray = memoryview(b"")
    for field in _fields(data, place):
        if field.number == _BLOB_SHAPE:
            _add_sides(sides, _bytes(field, place), place)
        elif field.number == _BLOB_FLOATS:
            floats = _joined(floats, _elements(field, _FOUR_BYTES, place))
        elif field.number == _BLOB_DOUBLES:
            doubles = _joined(doubles, _elements(field, _EIGHT_BYTES, place))
        elif field.number in _BLOB_SIDES:
            old = True
            old_sides[field.number - 1] = _varint_of(field, place)
    if old:  # as Caffe does, which asks for these first
        sides = old_sides
    values = np.frombuffer(doubles, "<f8") if doubles else np.frombuffer(floats, "<f4")
    values.flags.writeable = False
    return _shaped(values, sides, place)


def _joined(before: memoryview | bytearray, more: memoryview) -> memoryview | bytearray:
    """Join numbers: packed ones stay a view, others come one by one, too many for a list."""
    if not before:
        return more
    joined = before if isinstance(before, bytearray) else bytearray(before)
    joined += more
    return joined


def _add_sides(sides: list[int], data: memoryview, place: str) -> None:
    """Add the sides in a message, of which a file may hold many, to those before."""
    for field in _fields(data, place):
        if field.number != _SHAPE_SIDES:
            continue
        if field.kind == _VARINT:
            _add_side(sides, field.value, place)
            continue
        packed, position = _bytes(field, place), 0
        while position < len(packed):
            side, position = _varint(packed, position, place)
            _add_side(sides, side, place)


def _add_side(sides: list[int], side: int, place: str) -> None:
    if len(sides) == _MOST_DIMENSIONS:
        raise ValueError(f"{place} has more than {_MOST_DIMENSIONS} sides")
    sides.append(side)


def _shaped(values: np.ndarray, sides: list[int], place: str) -> np.ndarray:
    if math.prod(sides) != len(values):
        raise ValueError(f"{place} of the sides {tuple(sides)} holds {len(values)} values")
    return values.reshape(sides)


def _elements(field: _Field, single: int, place: str) -> memoryview:
    """Return the bytes of one number, or of many that are packed."""
    if field.kind == single:
        return field.value
    packed = _bytes(field, place)
    if len(packed) % _FIXED_SIZES[single]:
        raise ValueError(f"{place} ends within a number")
    return packed


def _fields(data: memoryview, place: str) -> Iterator[_Field]:
    """Go through the fields of a message; nothing is read beyond its end."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position, place)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise ValueError(f"{place} has a field 0")
        if kind == _VARINT:
            value, position = _varint(data, position, place)
            yield _Field(number, kind, value)
            continue
        if kind == _BYTES:
            size, position = _varint(data, position, place)
        elif kind in _FIXED_SIZES:
            size = _FIXED_SIZES[kind]
        else:
            raise ValueError(f"{place} has a field of the unknown type {kind}")
        if size > len(data) - position:
            raise ValueError(f"{place} is cut off: {len(data) - position} of {size} bytes")
        yield _Field(number, kind, data[position : position + size])
        position += size


def _varint(data: memoryview, position: int, place: str) -> tuple[int, int]:
    """Read a number of seven bits a byte; return it and where it ends."""
    number = 0
    for i, byte in enumerate(data[position : position + _LONGEST_VARINT]):
        number |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return number, position + i + 1
    raise ValueError(f"{place} is cut off, or has a number of too many bytes")


def _bytes(field: _Field, place: str) -> memoryview:
    if field.kind != _BYTES:
        raise ValueError(f"{place} has a field {field.number} of the wrong type")
    return field.value


def _varint_of(field: _Field, place: str) -> int:
    if field.kind != _VARINT:
        raise ValueError(f"{place} has a field {field.number} of the wrong type")
    return field.value
