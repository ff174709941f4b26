import builtins
import io
import os
import pickle
import sys
import tarfile
import tracemalloc
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from models.backbones.torch_file import read_pth
from tests.models.backbones.torch_files import (
    STORAGE_NAMES,
    TORCH,
    UTILS,
    Call,
    Parameter,
    Storage,
    Tensor,
    archive,
    header,
    pickled,
    pth,
    storages,
    tensor,
)
from tests.models.readers import bytes_reader, refusal_of

SIX = np.arange(6, dtype="float32")


@pytest.fixture
def read(tmp_path):
    return bytes_reader(read_pth, tmp_path / "file.pth")


@pytest.fixture
def refusal(tmp_path):
    return refusal_of(read_pth, tmp_path / "file.pth")


def small() -> bytes:
    return pth({"a": SIX.reshape(2, 3), "b": np.int64(7), "c": SIX[:2].astype("float16")})


@pytest.mark.parametrize("dtype", STORAGE_NAMES)
def test_every_type(dtype, read):
    array = np.arange(6).reshape(1, 2, 3).astype(dtype)
    got = read(pth({"x": array}))["x"]
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, array)


def test_names_order_and_scalars(read):
    got = read(pth({"b.weight": SIX, "a": np.int64(-3), "empty": np.zeros((0, 3), "float32")}))
    assert type(got) is dict
    assert list(got) == ["b.weight", "a", "empty"]
    assert (got["a"].shape, got["a"].item()) == ((), -3)
    assert got["empty"].shape == (0, 3)


def test_strides_and_offsets(read):
    storage = Storage("s", SIX)
    got = read(
        pth(
            {
                "transposed": Tensor(storage, 0, (3, 2), (1, 3)),
                "column": Tensor(storage, 1, (2,), (3,)),
                "last": Tensor(storage, 5, (), ()),
                "repeated": Tensor(storage, 2, (4,), (0,)),
            }
        )
    )
    np.testing.assert_array_equal(got["transposed"], [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(got["column"], [1, 4])
    np.testing.assert_array_equal(got["last"], 5)
    np.testing.assert_array_equal(got["repeated"], [2, 2, 2, 2])
    assert np.shares_memory(got["transposed"], got["column"])
    assert not any(array.flags.writeable for array in got.values())


@pytest.mark.parametrize("write", [pth, archive])
def test_parameters(write, read):
    """State dicts that were put together by hand may hold them beside tensors."""
    got = read(write({"weight": Parameter(tensor("weight", SIX.reshape(2, 3))), "mean": SIX + 1}))
    assert list(got) == ["weight", "mean"]
    np.testing.assert_array_equal(got["weight"], SIX.reshape(2, 3))
    np.testing.assert_array_equal(got["mean"], SIX + 1)


def test_plain_dicts_and_files_of_older_versions(read):
    storage = Storage("s", SIX, view=())
    state_dict = {"x": Tensor(storage, 0, (6,), (1,))}
    got = read(header() + pickled(state_dict) + storages(storage))
    np.testing.assert_array_equal(got["x"], SIX)


def with_call(call) -> bytes:
    return header() + pickled(OrderedDict(x=call)) + storages()


def test_no_function_runs(refusal, tmp_path):
    marker = tmp_path / "marker"
    write = f"open({str(marker)!r}, 'w')"
    # By the names that they had when this kind of pickle was invented.
    for name, function, argument in (
        ("posix.system", os.system, f"touch '{marker}'"),
        ("__builtin__.eval", builtins.eval, write),
        ("__builtin__.exec", builtins.exec, write),
        ("__builtin__.getattr", builtins.getattr, "x"),
        ("pickle.loads", pickle.loads, pickled(Call(builtins.eval, write))),
    ):
        assert f"refused to load {name!r}" in refusal(with_call(Call(function, argument)))
        assert not marker.exists()


@pytest.mark.parametrize(
    "call",
    [
        Call(TORCH.FloatStorage, 3),
        Call(OrderedDict, [("a", 1)]),
        Call(UTILS._rebuild_tensor_v2),
        Call(UTILS._rebuild_tensor_v2, "storage", 0, (1,), (1,), False, None),
        Call(UTILS._rebuild_parameter),
        Call(UTILS._rebuild_parameter, [], True, OrderedDict()),
        Call(UTILS._rebuild_parameter, tensor("s", SIX), True),
    ],
)
def test_allowed_names_do_nothing_else(call, refusal):
    refusal(with_call(call))


@pytest.mark.parametrize(
    ("opcodes", "name"),
    [
        (b"\x80\x02(X\x01\x00\x00\x00xios\nsystem\n.", "INST"),
        (b"\x80\x02(cos\nsystem\nX\x01\x00\x00\x00xo.", "OBJ"),
        (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "NEWOBJ"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "SHORT_BINUNICODE"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x02Pid\n.", "PERSID"),
    ],
)
def test_other_opcodes_are_refused(opcodes, name, refusal):
    assert f"refused to run the pickle opcode {name}" in refusal(header() + opcodes)


def test_nothing_is_left_for_the_next_file(read, refusal):
    """BUILD sets attributes of whatever it finds."""
    text = b"X\x0c\x00\x00\x00__defaults__"
    for name in (b"collections\nOrderedDict", b"torch._utils\n_rebuild_tensor_v2"):
        for state in (b"}" + text + b"Ns", b"N}" + text + b"Ns\x86"):
            refusal(header() + b"\x80\x02c" + name + b"\n" + state + b"b.")
    assert read(small())["b"] == 7


def test_cut_off_anywhere(refusal):
    content = small()
    for length in range(len(content)):
        refusal(content[:length])


def test_flipped_bits(read):
    content = small()
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


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 100, b"PNG", b".", b"\x80\x02.", b"N.", b"\x80\x02}(N]s."]
)
def test_garbage(content, refusal):
    refusal(content)
    refusal(header() + content)


@pytest.mark.parametrize("dtype", STORAGE_NAMES)
def test_every_type_in_an_archive(dtype, read):
    array = np.arange(6).reshape(1, 2, 3).astype(dtype)
    got = read(archive({"x": array, "n": np.int64(-3)}))
    assert (list(got), got["x"].dtype, got["n"].item()) == (["x", "n"], dtype, -3)
    np.testing.assert_array_equal(got["x"], array)
    assert not got["x"].flags.writeable


def test_archives_without_a_byte_order(read):
    """PyTorch writes it since version 2.1."""
    got = read(archive({"x": SIX}, changes={"byteorder": None}))
    np.testing.assert_array_equal(got["x"], SIX)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (archive({"x": SIX}, changes={"byteorder": b"big"}), "little-endian"),
        (archive({"x": SIX}, changes={"data.pkl": None}), "no file 'data.pkl'"),
        (archive({"x": SIX}, changes={"data/x": None}), "no file 'data/x'"),
        (
            archive({"x": SIX}, changes={"data/x": b"1234"}),
            "must have 24 bytes, not 4",
        ),
        (archive({"x": SIX}, changes={"data.pkl": pickled([])}), "no dict but a list"),
        (archive({"x": SIX}, changes={"data.pkl": b"\x80\x02cos\nsystem\n."}), "os.system"),
        (archive({"x": SIX}, compression=zipfile.ZIP_DEFLATED), "must not be compressed"),
        (
            archive({"x": Tensor(Storage("s", SIX), 1, (6,), (1,))}),
            "'x' ends at element 7 of the 6",
        ),
        (archive({"x": SIX})[:-30], "BadZipFile"),
        (b"PK\x03\x04 and no more", "BadZipFile"),
    ],
)
def test_archives_of_something_else_are_refused(content, reason, refusal):
    assert reason in refusal(content)


def test_archives_cut_off_or_changed_anywhere(read, refusal):
    content = archive({"x": SIX})
    for length in range(len(content)):
        refusal(content[:length])
    # Every stored byte is under a checksum, but for that of the names of other files.
    for position in range(0, len(content), 7):
        changed = bytearray(content)
        changed[position] ^= 0x10
        try:
            got = read(bytes(changed))
        except ValueError:
            continue
        np.testing.assert_array_equal(got["x"], SIX)


def test_archives_whose_files_share_their_bytes(refusal):
    """One file stands within another: many in one another would take memory without end."""
    inner = zipfile.ZipInfo("resnet101/data/inner")
    content = b"i" * 4000
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as written:
        written.writestr(inner, content)
    stored = file.getvalue()[: file.getvalue().index(content) + len(content)]
    arrays = {name: np.frombuffer(x, "u1") for name, x in (("outer", stored), ("inner", content))}
    file = io.BytesIO(archive(arrays, changes={"data/inner": None}))
    with zipfile.ZipFile(file, "a") as written:
        outer = written.getinfo("resnet101/data/outer")
        inner.header_offset = outer.header_offset + 30 + len(outer.filename)
        written.filelist.append(inner)
        written.writestr("resnet101/last", b"")
    assert "cannot hold files of" in refusal(file.getvalue())


def test_sizes_are_compared_before_files_are_read(refusal):
    """Else the checksum would be the first to be wrong."""
    content = archive({"x": SIX}, changes={"data/x": b"12345678"}).replace(b"12345678", b"87654321")
    assert "must have 24 bytes, not 8" in refusal(content)


def test_long_pickles_are_refused(refusal):
    """PyTorch's have some hundred bytes for each tensor."""
    assert "more than 4000000 bytes" in refusal(
        header() + pickled({"x" * 4_000_000: tensor("s", SIX)}) + pickled(["s"])
    )


def test_tar_archives_get_a_way_out(refusal):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as written:
        written.addfile(tarfile.TarInfo("storages"))
    assert "a tar archive, PyTorch's first format; convert it" in refusal(file.getvalue())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (header(magic=1), "no magic number"),
        (header(version=1002), "version 1001"),
        (header(little_endian=False), "little-endian"),
        (header() + pickled([]) + storages(), "no dict but a list"),
        (header() + pickled({3: 4}) + storages(), "names must be strings, not int"),
        (header() + pickled({"a\x1b[31m": tensor("s", SIX)}), "printable, not 'a\\x1b[31m'"),
        (header() + b"\x80\x02cos\x1b[31m\nsystem\n.", "refused to load 'os\\x1b[31m.system'"),
        (header() + pickled({"epoch": 4}) + storages(), "'epoch' must be a tensor, not a int"),
        (
            header() + pickled({"epoch": 4, "state_dict": OrderedDict(x=tensor("s", SIX))}),
            "save one of them alone, by torch.save(content[NAME], path); their names: 'state_dict'",
        ),
        (header() + pickled({"model": {"x": 4}}), "'model' must be a tensor, not a dict"),
        (header() + pickled({"x": tensor("s", SIX)}) + storages(), "keys of the storages"),
        (header() + pickled({}) + storages(Storage("s", SIX)), "keys of the storages"),
        (header() + pickled({}) + pickled({}), "must be a list of strings"),
        (small() + b"xy", "2 bytes behind"),
    ],
)
def test_what_is_no_state_dict_is_refused(content, reason, refusal):
    assert reason in refusal(content)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (Tensor(Storage("s", SIX), 1, (6,), (1,)), "'x' ends at element 7 of the 6"),
        (Tensor(Storage("s", SIX), 0, (2, 2), (4, 2)), "'x' ends at element 7 of the 6"),
        (Tensor(Storage("s", SIX), 7, (0,), (1,)), "'x' ends at element 7 of the 6"),
        (Tensor(Storage("s", SIX), 5, (2,), (-1,)), "integers from 0 on"),
        (Tensor(Storage("s", SIX), -1, (2,), (1,)), "integers from 0 on"),
        (Tensor(Storage("s", SIX), 0, (2.0,), (1,)), "BINFLOAT"),
        (Tensor(Storage("s", SIX), 0, (True,), (1,)), "integers from 0 on"),
        (Tensor(Storage("s", SIX), 0, (2, 3), (1,)), "2 sizes and 1 strides"),
        (Tensor(Storage("s", SIX), 0, (1,) * 99, (1,) * 99), "99 sizes"),
        (Tensor(Storage("s", SIX, claimed=5), 0, (5,), (1,)), "must have 5 elements, not 6"),
        (Tensor(Storage("s", SIX, claimed="6"), 0, (5,), (1,)), "number of elements"),
        (Tensor(Storage("s", SIX, view=(("t", 0, 6),)), 0, (6,), (1,)), "view of another"),
        (Tensor(Storage("s", SIX, view=(None, None)), 0, (6,), (1,)), "5 or 6 attributes"),
        (Tensor(Storage("s", SIX, kind="BFloat16Storage"), 0, (6,), (1,)), "BFloat16Storage"),
    ],
)
def test_inconsistent_tensors_are_refused(entry, reason, refusal):
    assert reason in refusal(pth({"x": entry}))


def test_one_key_for_two_storages(refusal):
    two = {"x": tensor("s", SIX), "y": tensor("s", SIX[:2])}
    assert "two types or sizes" in refusal(header() + pickled(two))


HUGE = 2**60


@pytest.mark.parametrize(
    "content",
    [
        # A memo far out, text and an integer that are not there, and elements that are not.
        header() + b"\x80\x02Nr\xff\xff\xff\x7f.",
        header() + b"\x80\x02X\xff\xff\xff\xffx.",
        header() + b"\x80\x02\x8b\xff\xff\xff\x7fx.",
        header()
        + pickled({"x": Tensor(Storage("s", SIX, claimed=HUGE), 0, (HUGE,), (1,))})
        + pickled(["s"])
        + np.int64(HUGE).tobytes(),
    ],
)
def test_sizes_are_checked_before_memory_is_asked_for(content, refusal):
    tracemalloc.start()
    try:
        refusal(content)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_repetition_needs_no_memory(read):
    array = read(pth({"x": Tensor(Storage("s", SIX), 3, (HUGE,), (0,))}))["x"]
    assert (array.shape, array[-1]) == ((HUGE,), 3)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_pth(tmp_path / "missing.pth")


def test_pytorch_is_not_needed(read):
    read(small())
    assert "torch" not in sys.modules
