"""State dicts of PyTorch's .pth files, read without PyTorch and without running what is in them."""

import io
import math
import os
import pickle
import pickletools
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# `torch.serialization`: the first two pickles of every file of the older format.
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001
_ZIP_SIGNATURE = b"PK\x03\x04"
# NumPy's limit before version 2.
_MOST_DIMENSIONS = 32

_STORAGE_DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}

# All that `torch.save` writes a state dict with. Python's unpickler knows many more, among them
# those that look up functions by other ways than `find_class`.
_OPCODE_NAMES = """
    PROTO STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINUNICODE
    EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS
    GLOBAL REDUCE BUILD BINPERSID BINGET LONG_BINGET BINPUT LONG_BINPUT
"""
_OPCODES = frozenset(_OPCODE_NAMES.split())


def read_pth(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read the state dict of a .pth file in the format that PyTorch wrote before version 1.6.

    Such a file is a row of pickles (a magic number, the format's version, facts about the machine,
    the state dict, the keys of the storages) and then, storage by storage, the number of elements
    and the elements. A pickle is a program: here only an unpickler runs it that knows no function
    but stand-ins for the few that a state dict is made of.

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
        ValueError: `path` must be a .pth file of a state dict, ... Received: path='...' (...)
    """
    data = Path(path).read_bytes()
    try:
        return _read(data)
    # Unpicklers let nearly every type of exception out when they meet garbage.
    except Exception as error:
        reason = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
        raise ValueError(
            "`path` must be a .pth file of a state dict, of the format before PyTorch 1.6. "
            f"Received: path={str(path)!r} ({' '.join(reason.split())})"
        ) from error


class _StateDict(dict):
    """Stands in for `collections.OrderedDict`, without what `torch.save` hangs on it."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Forget the state: version numbers of the modules, which no array needs."""


class _StorageType(NamedTuple):
    """Stands in for a class such as `torch.FloatStorage`, and cannot be called."""

    dtype: str


class _Storage(NamedTuple):
    """A promise of elements at the end of the file."""

    key: str
    dtype: str
    elements: int


class _Tensor(NamedTuple):
    """A view of a storage that is yet to be read; everything counts elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


# The callables are objects without attributes, so that no pickle can change them for the next one.
class _MakeStateDict:
    __slots__ = ()

    def __call__(self, *arguments: Any) -> _StateDict:
        if arguments:
            raise ValueError(f"OrderedDict must be made empty, not of {len(arguments)} arguments")
        return _StateDict()


class _MakeTensor:
    __slots__ = ()

    def __call__(
        self, storage: Any, offset: Any, shape: Any, strides: Any, *autograd: Any
    ) -> _Tensor:
        if not isinstance(storage, _Storage):
            raise ValueError(f"a tensor must have a storage, not a {type(storage).__name__}")
        if not (_are_counts((offset,)) and _are_counts(shape) and _are_counts(strides)):
            raise ValueError("a tensor's offset, sizes and strides must be integers from 0 on")
        if not len(shape) == len(strides) <= _MOST_DIMENSIONS:
            raise ValueError(f"a tensor has {len(shape)} sizes and {len(strides)} strides")
        return _Tensor(storage, offset, shape, strides)


_GLOBALS = {
    ("collections", "OrderedDict"): _MakeStateDict(),
    ("torch._utils", "_rebuild_tensor_v2"): _MakeTensor(),
    **{("torch", name): _StorageType(dtype) for name, dtype in _STORAGE_DTYPES.items()},
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO):
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Return a stand-in, never what the name means in Python."""
        if (module_name, global_name) not in _GLOBALS:
            raise ValueError(f"refused to load {module_name}.{global_name}")
        return _GLOBALS[module_name, global_name]

    def persistent_load(self, identifier: Any) -> _Storage:
        """Turn ("storage", type, key, device, elements[, view]) into a promise."""
        if not (isinstance(identifier, tuple) and len(identifier) in (5, 6)):
            raise ValueError("a storage must have 5 or 6 attributes")
        kind, storage_type, key, _, elements, *view = identifier
        known = kind == "storage" and isinstance(storage_type, _StorageType)
        if not (known and isinstance(key, str) and _are_counts((elements,))):
            raise ValueError("a storage must have a known type, a key and a number of elements")
        if view not in ([], [None]):
            raise ValueError(f"storage {key!r} must not be a view of another")
        storage = _Storage(key, storage_type.dtype, elements)
        if self.storages.setdefault(key, storage) != storage:
            raise ValueError(f"storage {key!r} comes with two types or sizes")
        return storage


def _are_counts(values: Any) -> bool:
    return isinstance(values, tuple) and all(type(value) is int and value >= 0 for value in values)


def _read(data: bytes) -> dict[str, np.ndarray]:
    if data.startswith(_ZIP_SIGNATURE):
        raise ValueError(
            "a zip archive, the format since PyTorch 1.6; convert it with "
            "torch.save(torch.load(path), path, _use_new_zipfile_serialization=False)"
        )
    file = io.BytesIO(data)
    _check_header(file)
    state_dict, storages = _unpickle(file)
    _check_state_dict(state_dict)
    contents = _read_storages(file, storages)
    return {name: _array(name, tensor, contents) for name, tensor in state_dict.items()}


# Messages show nothing of an unknown type: what refers to itself twenty times over prints for ever.
def _check_header(file: io.BytesIO) -> None:
    if _unpickle(file)[0] != _MAGIC_NUMBER:
        raise ValueError("no magic number at its beginning")
    if _unpickle(file)[0] != _PROTOCOL_VERSION:
        raise ValueError(f"not version {_PROTOCOL_VERSION} of the format")
    machine = _unpickle(file)[0]
    if not (isinstance(machine, dict) and machine.get("little_endian") is True):
        raise ValueError("not written by a little-endian machine")


def _check_state_dict(state_dict: Any) -> None:
    if not isinstance(state_dict, dict):
        raise ValueError(f"it holds no dict but a {type(state_dict).__name__}")
    for name, value in state_dict.items():
        if not isinstance(name, str):
            raise ValueError(f"the names must be strings, not {type(name).__name__}")
        if not isinstance(value, _Tensor):
            raise ValueError(f"{name!r} must be a tensor, not a {type(value).__name__}")


def _unpickle(file: io.BytesIO) -> tuple[Any, dict[str, _Storage]]:
    """Run the next pickle, and return its object and the storages it promises."""
    start = file.tell()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if opcode.name not in _OPCODES:
            raise ValueError(f"refused to run the pickle opcode {opcode.name}")
        # The unpickler makes room for as many memos as it is told.
        if opcode.name in ("BINPUT", "LONG_BINPUT") and argument > count:
            raise ValueError(f"memo {argument} in a pickle of fewer opcodes")
    file.seek(start)
    unpickler = _Unpickler(file)
    return unpickler.load(), unpickler.storages


def _read_storages(file: io.BytesIO, storages: dict[str, _Storage]) -> dict[str, bytes]:
    keys = _unpickle(file)[0]
    if not (isinstance(keys, list) and all(isinstance(key, str) for key in keys)):
        raise ValueError("the keys of the storages must be a list of strings")
    if sorted(keys) != sorted(storages):
        raise ValueError("the keys of the storages must be those that the tensors name")
    contents = {key: _read_storage(file, storages[key]) for key in keys}
    if surplus := len(file.read()):
        raise ValueError(f"{surplus} bytes behind the last storage")
    return contents


def _read_storage(file: io.BytesIO, storage: _Storage) -> bytes:
    header = file.read(8)
    if len(header) < 8:
        raise ValueError(f"cut off before storage {storage.key!r}")
    elements = int.from_bytes(header, "little", signed=True)
    if elements != storage.elements:
        raise ValueError(
            f"storage {storage.key!r} must have {storage.elements} elements, not {elements}"
        )
    size = elements * np.dtype(storage.dtype).itemsize
    content = file.read(min(size, sys.maxsize))
    if len(content) < size:
        raise ValueError(f"cut off: {len(content)} of {size} bytes of storage {storage.key!r}")
    return content


def _array(name: str, tensor: _Tensor, contents: dict[str, bytes]) -> np.ndarray:
    storage, offset, shape, strides = tensor
    # NumPy would take any offset where there is nothing to read.
    last = sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
    end = offset + last + 1 if math.prod(shape) else offset
    if end > storage.elements:
        raise ValueError(f"{name!r} ends at element {end} of the {storage.elements} of its storage")
    itemsize = np.dtype(storage.dtype).itemsize
    steps = tuple(stride * itemsize for stride in strides)
    return np.ndarray(shape, storage.dtype, contents[storage.key], offset * itemsize, steps)
