"""An unpickler that runs no function, and knows only what PyTorch's state dicts are made of."""

import io
import pickle
import pickletools
from typing import Any, NamedTuple

import numpy as np

# The most dimensions of an array in NumPy before version 2.
_MOST_DIMENSIONS = 32

# A state dict of a thousand tensors takes about 200,000 bytes.
_LONGEST_PICKLE = 4_000_000

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

# The opcodes that `torch.save` writes a state dict with. Python's unpickler knows many more, and
# some of them find functions without asking `find_class`.
_OPCODE_NAMES = """
    PROTO STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINUNICODE
    EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS
    GLOBAL REDUCE BUILD BINPERSID BINGET LONG_BINGET BINPUT LONG_BINPUT
"""
_OPCODES = frozenset(_OPCODE_NAMES.split())


class _StateDict(dict):
    """Stands in for `collections.OrderedDict`, without what `torch.save` hangs on it."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Forget the state: version numbers of the modules, which no array needs."""


class _StorageType(NamedTuple):
    """Stands in for a class such as `torch.FloatStorage`, and cannot be called."""

    dtype: str


class Storage(NamedTuple):
    """A promise of elements at the end of the file."""

    key: str
    dtype: str
    elements: int

    @property
    def size(self) -> int:
        """In bytes."""
        return self.elements * np.dtype(self.dtype).itemsize


class Tensor(NamedTuple):
    """A view of a storage that is yet to be read; everything counts elements."""

    storage: Storage
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
    ) -> Tensor:
        if not isinstance(storage, Storage):
            raise ValueError(f"a tensor must have a storage, not a {type(storage).__name__}")
        if not (_are_counts((offset,)) and _are_counts(shape) and _are_counts(strides)):
            raise ValueError("a tensor's offset, sizes and strides must be integers from 0 on")
        if not len(shape) == len(strides) <= _MOST_DIMENSIONS:
            raise ValueError(f"a tensor has {len(shape)} sizes and {len(strides)} strides")
        return Tensor(storage, offset, shape, strides)


class _MakeParameter:
    __slots__ = ()

    def __call__(self, tensor: Any, requires_grad: Any, hooks: Any) -> Tensor:
        if not isinstance(tensor, Tensor):
            raise ValueError(f"a parameter must be a tensor, not a {type(tensor).__name__}")
        return tensor


_GLOBALS = {
    ("collections", "OrderedDict"): _MakeStateDict(),
    ("torch._utils", "_rebuild_tensor_v2"): _MakeTensor(),
    ("torch._utils", "_rebuild_parameter"): _MakeParameter(),
    **{("torch", name): _StorageType(dtype) for name, dtype in _STORAGE_DTYPES.items()},
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO):
        super().__init__(file)
        self.storages: dict[str, Storage] = {}

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Return a stand-in, never what the name means in Python."""
        if (module_name, global_name) not in _GLOBALS:
            raise ValueError(f"refused to load {f'{module_name}.{global_name}'!r}")
        return _GLOBALS[module_name, global_name]

    def persistent_load(self, identifier: Any) -> Storage:
        """Turn ("storage", type, key, device, elements[, view]) into a promise."""
        if not (isinstance(identifier, tuple) and len(identifier) in (5, 6)):
            raise ValueError("a storage must have 5 or 6 attributes")
        kind, storage_type, key, _, elements, *view = identifier
        known = kind == "storage" and isinstance(storage_type, _StorageType)
        if not (known and isinstance(key, str) and _are_counts((elements,))):
            raise ValueError("a storage must have a known type, a key and a number of elements")
        if view not in ([], [None]):
            raise ValueError(f"storage {key!r} must not be a view of another")
        storage = Storage(key, storage_type.dtype, elements)
        if self.storages.setdefault(key, storage) != storage:
            raise ValueError(f"storage {key!r} comes with two types or sizes")
        return storage


def _are_counts(values: Any) -> bool:
    return isinstance(values, tuple) and all(type(value) is int and value >= 0 for value in values)


def unpickle(file: io.BytesIO) -> tuple[Any, dict[str, Storage]]:
    """Run the next pickle of a file, which may hold anything.

    It runs no code of the file, but one made to do harm may exhaust time or memory, or end the
    process: a tuple in tuples many times over, as a key of a dict.

    Args:
        file: At the beginning of a pickle; left behind its end.

    Returns:
        The object, in which each tensor is a `Tensor`, and the storages it promises, by key.

    Raises:
        Exception: of nearly every type, where the pickle is damaged or asks for more than state
            dicts are made of.
    """
    start = file.tell()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if file.tell() - start > _LONGEST_PICKLE:
            raise ValueError(f"a pickle of more than {_LONGEST_PICKLE} bytes")
        if opcode.name not in _OPCODES:
            raise ValueError(f"refused to run the pickle opcode {opcode.name}")
        # The unpickler reserves memory for as many memos as the number says.
        if opcode.name in ("BINPUT", "LONG_BINPUT") and argument > count:
            raise ValueError(f"memo {argument} in a pickle of fewer opcodes")
    file.seek(start)
    unpickler = _Unpickler(file)
    return unpickler.load(), unpickler.storages
