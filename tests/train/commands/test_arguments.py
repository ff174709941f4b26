"""One line for each mistake on the command line, before any file is read."""

import pytest

from tests.commands import assert_one_line

NO_SPLIT = "folder has the splits train, val"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["check", "--data.val_split=exam"], [NO_SPLIT, "exam"]),
        (["check", "--data.root=nowhere"], ["nowhere"]),
        (["check", "--data.on_error=skip"], ["data.on_error"]),  # it looks at everything anyway
        (["prepare", "--output=o", "--shard_megabytes=0"], ["shard_megabytes", "0"]),
        (["prepare", "--output=o", "--data.val_split=exam"], [NO_SPLIT, "exam"]),
        (["prepare", "--output=o", "--data.root=nowhere"], ["nowhere"]),
        # What is wrong must not become a record.
        (["prepare", "--output=o", "--data.verify=false"], ["data.verify"]),
        (["weights", "--split=exam"], [NO_SPLIT, "exam"]),
        (["weights", "--method=guess"], ["method", "median_frequency", "guess"]),
        (["weights", "--data.name=voc"], ["data.name", "scenes", "camvid", "voc"]),
        (["weights", "--data.root=nowhere"], ["nowhere"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_a_wrong_argument_is_named(train, root, tmp_path, arguments, parts):
    command, *options = arguments
    outcome = train(command, "--data.name=folder", f"--data.root={root}", *options)
    assert_one_line(outcome, *parts)
    assert [path.name for path in tmp_path.iterdir()] in (["own"], ["own", "runs"])
