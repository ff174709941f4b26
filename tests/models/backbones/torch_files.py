"""Writes .pth files as PyTorch does since version 1.6 and did before, without PyTorch."""

import dataclasses
import io
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from unittest import mock

import numpy as np

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
STORAGE_NAMES = {
    "f8": "DoubleStorage",
    "f4": "FloatStorage",
    "f2": "HalfStorage",
    "i8": "LongStorage",
    "i4": "IntStorage",
    "i2": "ShortStorage",
    "i1": "CharStorage",
    "u1": "ByteStorage",
    "b1": "BoolStorage",
}


def _rebuild_tensor_v2():
    """Found by the pickler, called by nobody."""


def _rebuild_parameter():
    """Found and not called likewise."""


_rebuild_tensor_v2.__module__ = _rebuild_parameter.__module__ = "torch._utils"
TORCH = types.ModuleType("torch")
UTILS = types.ModuleType("torch._utils")
UTILS._rebuild_tensor_v2 = _rebuild_tensor_v2
UTILS._rebuild_parameter = _rebuild_parameter
for _name in (*STORAGE_NAMES.values(), "BFloat16Storage"):
    setattr(TORCH, _name, type(_name, (), {"__module__": "torch"}))


@dataclasses.dataclass
class Storage:
    """Elements of a file; `claimed` is what the pickle says of their number, if it lies."""

    key: str
    elements: np.ndarray
    claimed: int | None = None
    kind: str | None = None
    view: tuple = (None,)

    def identifier(self):
        kind = self.kind or STORAGE_NAMES[self.elements.dtype.str[1:]]
        count = len(self.elements) if self.claimed is None else self.claimed
        return ("storage", getattr(TORCH, kind), self.key, "cpu", count, *self.view)


@dataclasses.dataclass
class Tensor:
    """A view of a storage, in elements."""

    storage: Storage
    offset: int
    shape: tuple
    strides: tuple

    def __reduce__(self):
        return _rebuild_tensor_v2, (
            self.storage,
            self.offset,
            self.shape,
            self.strides,
            False,
            OrderedDict(),
        )


@dataclasses.dataclass
class Parameter:
    """A tensor as a module has it, instead of what it holds."""

    tensor: Tensor

    @property
    def storage(self):
        return self.tensor.storage

    def __reduce__(self):
        return _rebuild_parameter, (self.tensor, True, OrderedDict())


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class _Pickler(pickle.Pickler):
    def persistent_id(self, thing):
        return thing.identifier() if isinstance(thing, Storage) else None


def pickled(thing) -> bytes:
    file = io.BytesIO()
    with mock.patch.dict(sys.modules, {"torch": TORCH, "torch._utils": UTILS}):
        _Pickler(file, protocol=2).dump(thing)
    return file.getvalue()


def tensor(key, array) -> Tensor:
    """All of a contiguous array, in a storage of its own."""
    array = np.asarray(array)
    strides = tuple(stride // array.itemsize for stride in array.strides)
    return Tensor(Storage(key, array.reshape(-1)), 0, array.shape, strides)


def header(*, magic=MAGIC_NUMBER, version=1001, little_endian=True) -> bytes:
    sizes = {"short": 2, "int": 4, "long": 4}
    machine = {"protocol_version": version, "little_endian": little_endian, "type_sizes": sizes}
    return pickled(magic) + pickled(version) + pickled(machine)


def storages(*stored: Storage) -> bytes:
    """Return the end of a file."""
    contents = (
        np.int64(len(storage.elements)).tobytes() + storage.elements.tobytes() for storage in stored
    )
    return pickled([storage.key for storage in stored]) + b"".join(contents)


def _entries(state_dict) -> tuple[OrderedDict, list[Storage]]:
    """Return the tensors, and what they stand in."""
    entries = OrderedDict(
        (name, value if isinstance(value, Tensor | Parameter) else tensor(name, value))
        for name, value in state_dict.items()
    )
    # An attribute, as `torch.nn.Module.state_dict` sets it.
    entries._metadata = OrderedDict({"": {"version": 1}})
    stored = {entry.storage.key: entry.storage for entry in entries.values()}
    return entries, [*stored.values()]


def pth(state_dict) -> bytes:
    """Return a file of tensors, or of arrays, of the format before 1.6."""
    entries, stored = _entries(state_dict)
    return header() + pickled(entries) + storages(*stored)


def archive(state_dict, *, changes=None, compression=zipfile.ZIP_STORED) -> bytes:
    """Return one of today's format; `changes` replaces files of the archive, or None drops them."""
    entries, stored = _entries(state_dict)
    files = {
        "data.pkl": pickled(entries),
        "byteorder": b"little",
        **{f"data/{storage.key}": storage.elements.tobytes() for storage in stored},
        "version": b"3\n",
        **(changes or {}),
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as written:
        for name, content in files.items():
            if content is not None:
                written.writestr(f"resnet101/{name}", content)
    return file.getvalue()
