"""What a run shows: lines where there is no terminal, curves over steps, and what comes next."""

import re

import pytest

from tests.train.loop.small_trainer import two_convolutions
from train.config import FitConfig, RegularizationConfig, ScheduleConfig
from train.runs import reporting
from train.runs.build import build_optimization
from train.runs.reporting import ProgressReport, print_end, print_groups

LOGS = {"loss": 0.5, "learning_rate": 0.1, "val_mean_iou": 0.25, "val_pixel_accuracy": 0.75}


def test_without_a_terminal_a_line_every_few_seconds(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(reporting.time, "monotonic", lambda: clock[0])
    report = ProgressReport(steps=40, step=10, images=3, batch_size=8)
    report.on_train_begin()
    for step in range(11, 31):
        clock[0] += 1
        report.on_train_batch_end(step, {"loss": 1 / step})
    for number in range(3):
        clock[0] += 3
        report.on_image_scored(number)
    report.on_epoch_end(0, LOGS)
    report.on_train_end()
    assert capsys.readouterr().out.splitlines() == [
        "step 11/40: loss 0.0909",
        "step 16/40: loss 0.0625, 8 images/s, 0:00:24 left",
        "step 21/40: loss 0.0476, 8 images/s, 0:00:19 left",
        "step 26/40: loss 0.0385, 8 images/s, 0:00:14 left",
        "scoring: image 1/3",
        "scoring: image 3/3",
        "step 30/40: loss 0.5000, mean IoU 25.00 %, pixel accuracy 75.00 %",
    ]


def test_averaged_weights_are_said_beside_the_others(capsys):
    report = ProgressReport(steps=40, step=10, images=3, batch_size=8)
    report.on_epoch_end(0, {**LOGS, "val_ema_mean_iou": 0.5, "val_ema_pixel_accuracy": 0.875})
    assert capsys.readouterr().out.endswith(
        "mean IoU 25.00 %, pixel accuracy 75.00 %; averaged weights: mean IoU 50.00 %, pixel "
        "accuracy 87.50 %\n"
    )


def test_a_table_says_what_reaches_which_weights(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    config = FitConfig(
        schedule=ScheduleConfig(multipliers={"bias": 20, "kernel": 0}),
        regularization=RegularizationConfig(l2=0.01, weights="all"),
    )
    print_groups(build_optimization(config, two_convolutions()).groups, config)
    _, *lines = (" ".join(line.split()) for line in capsys.readouterr().out.splitlines())
    frozen, biases = lines
    assert re.fullmatch(r"frozen none 2, such as \S+/kernel, \S+/kernel 432", frozen)
    assert biases.startswith("× 20 l2 0.01, weight_decay 0.0001 2, such as ")
    assert biases.endswith("/bias 11")


@pytest.mark.parametrize(
    ("ious", "best"), [([0.5, 0.25], "Best:  step 1: mean IoU 50.00 %"), ([0.25, 0.5], None)]
)
def test_the_end_says_the_best_the_last_and_the_next_commands(capsys, tmp_path, ious, best):
    lines = [{**LOGS, "step": step, "val_mean_iou": iou} for step, iou in enumerate(ious, 1)]
    config = FitConfig(run=tmp_path / "mine")
    print_end(config, [{**lines[0], "step": 0, "val_mean_iou": None}, *lines])
    out = capsys.readouterr().out
    assert ("Best:" in out) == (best is not None)
    assert (best or "Last:  step 2: mean IoU 50.00 %") in out
    assert f"python -m savedmodels export {tmp_path}/mine --output savedmodels/mine" in out
