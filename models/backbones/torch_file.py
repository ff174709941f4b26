"""State dicts of PyTorch's .pth files, read without PyTorch and without running what is in them."""

import io
import math
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from models.backbones.torch_unpickler import Storage, Tensor, unpickle
from models.checks import shorten
from models.zip_members import check_members

# `torch.serialization`: the first two pickles of every file of the older format.
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001
_ZIP_SIGNATURE = b"PK\x03\x04"
# Where a tar archive, the format before 2017, has its own.
_TAR_SIGNATURE, _TAR_PLACE = b"ustar", 257


def read_pth(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read the state dict of a .pth file.

    Since version 1.6 PyTorch writes a zip archive of the pickled state dict and of a file for each
    storage. Before, a file was a row of pickles (a magic number, the format's version, facts about
    the machine, the state dict, the keys of the storages) and then, storage by storage, the number
    of elements and the elements. A pickle is a program: here only an unpickler runs it that knows
    no function but stand-ins for the few that a state dict is made of. A file made to do harm runs
    nothing, but may take all time and memory there is: objects in objects have no limit but the
    size of the pickle.

    Args:
        path: The file.

    Returns:
        Arrays by name, in the file's order, with its types, and read-only: they are views of what
        was read, and share memory where the tensors did.

    Raises:
        ValueError: if the file is of another format, cut off, inconsistent, of a big-endian
            machine, or holds anything but a state dict.
        OSError: if the file cannot be read.

    Example:
        >>> read_pth(__file__)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: `path` must be a .pth file of a state dict. Received: path='...' (...)
    """
    data = Path(path).read_bytes()
    try:
        return _read(data)
    # A damaged pickle may make the unpickler raise nearly any type of exception.
    except Exception as error:
        reason = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
        raise ValueError(
            "`path` must be a .pth file of a state dict. "
            f"Received: path={str(path)!r} ({' '.join(reason.split())})"
        ) from error


def _read(data: bytes) -> dict[str, np.ndarray]:
    if data.startswith(_ZIP_SIGNATURE):
        return _read_archive(data)
    if data[_TAR_PLACE:].startswith(_TAR_SIGNATURE):
        raise ValueError(
            "a tar archive, PyTorch's first format; convert it with "
            "torch.save(torch.load(path, weights_only=False), path) if you trust who made it"
        )
    file = io.BytesIO(data)
    _check_header(file)
    state_dict, storages = unpickle(file)
    _check_state_dict(state_dict)
    contents = _read_storages(file, storages)
    return {name: _array(name, tensor, contents) for name, tensor in state_dict.items()}


def _read_archive(data: bytes) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        # All names begin with one folder, whose name is any.
        members = {member.filename.partition("/")[2]: member for member in archive.infolist()}
        check_members(archive, len(data))

        def content(name: str, size: int | None = None) -> bytes:
            if name not in members:
                raise ValueError(f"its archive has no file {name!r}")
            if size not in (None, members[name].file_size):
                raise ValueError(
                    f"{name!r} of its archive must have {size} bytes, not {members[name].file_size}"
                )
            return archive.read(members[name])

        if "byteorder" in members and content("byteorder") != b"little":
            raise ValueError("not written by a little-endian machine")
        state_dict, storages = unpickle(io.BytesIO(content("data.pkl")))
        _check_state_dict(state_dict)
        contents = {key: content(f"data/{key}", storages[key].size) for key in storages}
    return {name: _array(name, tensor, contents) for name, tensor in state_dict.items()}


# The messages name types, not values: printing a list that holds itself many times never ends.
def _check_header(file: io.BytesIO) -> None:
    if unpickle(file)[0] != _MAGIC_NUMBER:
        raise ValueError("no magic number at its beginning")
    if unpickle(file)[0] != _PROTOCOL_VERSION:
        raise ValueError(f"not version {_PROTOCOL_VERSION} of the format")
    machine = unpickle(file)[0]
    if not (isinstance(machine, dict) and machine.get("little_endian") is True):
        raise ValueError("not written by a little-endian machine")


def _check_state_dict(state_dict: Any) -> None:
    if not isinstance(state_dict, dict):
        raise ValueError(f"it holds no dict but a {type(state_dict).__name__}")
    for name in state_dict:
        if not isinstance(name, str):
            raise ValueError(f"the names must be strings, not {type(name).__name__}")
        if not name.isprintable():
            raise ValueError(f"the names must be printable, not {name!r}")
    if within := [name for name, value in state_dict.items() if _has_tensors(value)]:
        raise ValueError(
            "dicts of tensors stand within its dict, not tensors: save one of them alone, by "
            f"torch.save(content[NAME], path); their names: {shorten(map(repr, within))}"
        )
    for name, value in state_dict.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{name!r} must be a tensor, not a {type(value).__name__}")


def _has_tensors(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(one, Tensor) for one in value.values())


def _read_storages(file: io.BytesIO, storages: dict[str, Storage]) -> dict[str, bytes]:
    keys = unpickle(file)[0]
    if not (isinstance(keys, list) and all(isinstance(key, str) for key in keys)):
        raise ValueError("the keys of the storages must be a list of strings")
    if sorted(keys) != sorted(storages):
        raise ValueError("the keys of the storages must be those that the tensors name")
    contents = {key: _read_storage(file, storages[key]) for key in keys}
    if surplus := len(file.read()):
        raise ValueError(f"{surplus} bytes behind the last storage")
    return contents


def _read_storage(file: io.BytesIO, storage: Storage) -> bytes:
    header = file.read(8)
    if len(header) < 8:
        raise ValueError(f"cut off before storage {storage.key!r}")
    elements = int.from_bytes(header, "little", signed=True)
    if elements != storage.elements:
        raise ValueError(
            f"storage {storage.key!r} must have {storage.elements} elements, not {elements}"
        )
    content = file.read(min(storage.size, sys.maxsize))
    if len(content) < storage.size:
        raise ValueError(
            f"cut off: {len(content)} of {storage.size} bytes of storage {storage.key!r}"
        )
    return content


def _array(name: str, tensor: Tensor, contents: dict[str, bytes]) -> np.ndarray:
    storage, offset, shape, strides = tensor
    # NumPy accepts any offset for an array without elements.
    last = sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
    end = offset + last + 1 if math.prod(shape) else offset
    if end > storage.elements:
        raise ValueError(f"{name!r} ends at element {end} of the {storage.elements} of its storage")
    itemsize = np.dtype(storage.dtype).itemsize
    steps = tuple(stride * itemsize for stride in strides)
    return np.ndarray(shape, storage.dtype, contents[storage.key], offset * itemsize, steps)
