"""What a run refuses before it begins."""

import pytest

from train.common.errors import UserError
from train.config import FitConfig, TrainerConfig
from train.loop.cluster import ALONE, Worker
from train.runs import begin


@pytest.mark.parametrize(
    ("size", "parts", "replicas", "worker", "remedy"),
    [
        (2, 1, 4, ALONE, "--trainer.replicas 2"),
        (6, 1, 4, ALONE, "--trainer.replicas 3"),
        (12, 2, 8, ALONE, "--trainer.replicas 6"),
        (7, 1, 4, ALONE, "--trainer.replicas 1"),
        (6, 4, 1, ALONE, "--trainer.batch_size 8"),
        (2, 1, 4, Worker(0, ("a:1", "b:2")), "--trainer.batch_size 4"),
    ],
)
def test_what_to_do_about_a_batch_that_the_replicas_cannot_share_is_said(
    size, parts, replicas, worker, remedy
):
    config = FitConfig(trainer=TrainerConfig(batch_size=size, accumulation=parts))
    with pytest.raises(
        UserError, match=f"multiple of the {replicas} .*, got {size}; choose {remedy}$"
    ):
        begin._check_batch_size(config, replicas, worker)
