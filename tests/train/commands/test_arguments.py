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


def test_a_loss_of_ones_own_is_imported_by_an_option(train, tmp_path, monkeypatch):
    (tmp_path / "own_losses.py").write_text(
        "from tfsegloss import SoftmaxCrossEntropy\n"
        "class OwnLoss(SoftmaxCrossEntropy):\n"
        '    """Cross-entropy."""\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    named = ["fit", "--loss=own_losses.OwnLoss", "--print_config"]
    outcome = train(*named)
    assert_one_line(
        outcome, "loss: no class 'own_losses.OwnLoss'", "python -m train --import MODULE"
    )
    outcome = train("--import", "own_losses", *named)
    assert outcome.status == 0
    assert "class_path: own_losses.OwnLoss" in outcome.out
    assert_one_line(
        train("--import", "nowhere", "fit"), "--import nowhere: No module named 'nowhere'"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        "--optimizer.momentum=2",
        "--schedule.warmup_steps=300",
        "--model.options.upsampling=nearest",
        "--loss.ignore_class=[a]",
    ],
)
def test_a_configuration_is_checked_before_data_are_made(train, tmp_path, monkeypatch, wrong):
    monkeypatch.chdir(tmp_path)
    outcome = train("fit", wrong, "--model.backbone=mobilenet_v2", f"--run={tmp_path}/run")
    assert outcome.status == 2
    assert not (tmp_path / "data").exists()
