"""Files that are there wholly or not at all."""

import pytest

from tfsegloss.core import command_line


def test_what_cannot_be_finished_leaves_nothing(tmp_path):
    path = tmp_path / "numbers.json"
    path.write_bytes(b"old")
    with pytest.raises(TypeError):
        command_line.write_whole(path, 3)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("numbers.json", b"old")]
