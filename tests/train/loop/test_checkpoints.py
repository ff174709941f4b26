"""Checkpoints: the newest whole one is used, damage is named, and nothing is lost."""

import os

import pytest
import tensorflow as tf

from train.common.errors import UserError
from train.loop import checkpoints


class State:
    """A checkpoint of one variable, which holds the step."""

    def __init__(self):
        self.variable = tf.Variable(tf.zeros([1000]))
        self.checkpoint = tf.train.Checkpoint(variable=self.variable)

    def write(self, folder, *steps, keep=()):
        for step in steps:
            self.variable.assign(tf.fill([1000], float(step)))
            checkpoints.write(self.checkpoint, folder, step, keep)

    def restore(self, folder, only=None):
        self.variable.assign(tf.fill([1000], -1.0))
        return checkpoints.restore_newest(
            folder, lambda path: self.checkpoint.read(path).assert_consumed(), only
        )

    @property
    def step(self):
        return int(self.variable[0])


@pytest.fixture
def state():
    return State()


def test_the_last_three_are_kept(state, tmp_path):
    folder = tmp_path / "checkpoints"
    state.write(folder, 1, 2, 10, 9, 11)
    assert checkpoints.steps(folder) == [11, 10, 9]
    assert state.restore(folder) == state.step == 11
    assert {path.name for path in folder.iterdir()} == {
        "checkpoint",
        *(f"ckpt-{n}.{end}" for n in (9, 10, 11) for end in ("index", "data-00000-of-00001")),
    }


def test_some_are_kept_for_good(state, tmp_path):
    for step in range(1, 8):
        state.write(tmp_path, step, keep={2, 4, 9})
    assert checkpoints.steps(tmp_path) == [7, 6, 5, 4, 2]
    assert state.restore(tmp_path, only=2) == state.step == 2


def test_the_one_just_written_stays_below_newer_ones(state, tmp_path):
    """As after three damaged ones, past which an older one was restored."""
    state.write(tmp_path, 100, 150, 200)
    state.write(tmp_path, 60)
    assert checkpoints.steps(tmp_path) == [200, 150, 100, 60]


def test_others_find_them(state, tmp_path):
    state.write(tmp_path, 1, 2)
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "ckpt-2")


def test_no_checkpoint_is_none(state, tmp_path):
    assert state.restore(tmp_path / "nothing") is None
    assert state.restore(tmp_path) is None


def cut(path):
    path.write_bytes(path.read_bytes()[:-10])


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def flip(path):
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 3] ^= 1
    path.write_bytes(contents)


def remove(path):
    path.unlink()


def of_another(path):
    """As a copy that was mixed up."""
    path.write_bytes(path.with_name(path.name.replace("-2.", "-1.")).read_bytes())


@pytest.mark.parametrize("damage", [cut, halve, empty, flip, remove], ids=lambda d: d.__name__)
@pytest.mark.parametrize("part", ["index", "data-00000-of-00001"])
def test_the_newest_whole_one_is_used_and_the_damaged_one_named(
    state, tmp_path, capsys, damage, part
):
    state.write(tmp_path, 1, 2)
    damage(tmp_path / f"ckpt-2.{part}")
    assert state.restore(tmp_path) == state.step == 1
    out = capsys.readouterr().out
    assert out.startswith(f"Damaged: {tmp_path}/ckpt-2 (")
    assert out.endswith(f"{tmp_path}/ckpt-1 is used\n")
    assert len(out.splitlines()) == 1
    # Nothing was removed, and the next one takes the damaged one's place.
    state.write(tmp_path, 2)
    assert state.restore(tmp_path) == state.step == 2
    assert checkpoints.steps(tmp_path) == [2, 1]


def test_data_of_another_checkpoint_are_noticed(state, tmp_path):
    state.write(tmp_path, 1, 2)
    of_another(tmp_path / "ckpt-2.data-00000-of-00001")
    assert state.restore(tmp_path) == 1


def test_where_none_can_be_read_nothing_is_begun(state, tmp_path):
    state.write(tmp_path, 1, 2)
    for path in tmp_path.glob("*.index"):
        empty(path)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(UserError, match="no checkpoint of .* can be read: .*ckpt-2 .*ckpt-1 "):
        state.restore(tmp_path)
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("text", [None, "", "another text", 'model_checkpoint_path: "ckpt-1"'])
def test_the_state_file_does_not_matter(state, tmp_path, text):
    state.write(tmp_path, 1, 2)
    if text is None:
        (tmp_path / "checkpoint").unlink()
    else:
        (tmp_path / "checkpoint").write_text(text)
    assert state.restore(tmp_path) == 2
    state.write(tmp_path, 3, 4)
    assert checkpoints.steps(tmp_path) == [4, 3, 2]


def test_a_full_disk_is_one_line_and_leaves_the_others(state, tmp_path, monkeypatch):
    state.write(tmp_path, 1)
    before = sorted(os.listdir(tmp_path))

    def full(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.train.Checkpoint, "write", full)
    with pytest.raises(UserError, match="ckpt-2 cannot be written: No space left on device"):
        state.write(tmp_path, 2)
    assert sorted(os.listdir(tmp_path)) == before


def test_it_is_on_the_disk_before_it_has_its_name(state, tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(checkpoints, "flush", flushed.append)
    state.write(tmp_path, 1)
    assert [path.suffix for path in flushed[:2]] == [".data-00000-of-00001", ".index"]
    assert all(path.parent != tmp_path for path in flushed[:2])
    assert flushed[2] == tmp_path


def test_what_killed_processes_left_is_removed(state, tmp_path):
    state.write(tmp_path, 1)
    for name in (".unfinished-abc", "ckpt-2_temp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part").touch()
    checkpoints.remove_unfinished(tmp_path)
    assert state.restore(tmp_path) == 1
    assert not [*tmp_path.glob(".unfinished*"), *tmp_path.glob("*_temp")]
