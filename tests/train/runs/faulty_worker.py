"""`python -m tests.train.runs.faulty_worker FAULT fit …`: a worker to which something happens.

It trains the small network. The fault comes in the first evaluation.
"""

import os
import runpy
import signal
import sys

import tensorflow as tf

from tests.train.small_network import small_networks
from train.common import signals
from train.loop.inspection import GradientNorms
from train.runs.watching import Evaluations


def get_a_signal(*_arguments):
    if not signals.is_caught():  # a second one would not wait
        os.kill(os.getpid(), signal.SIGTERM)


def lack_memory(*_arguments):
    raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating a tensor")


def break_down(*_arguments):
    raise RuntimeError("something nobody thought of")


# Where each happens: at an image, at the norms of the gradients, at the pictures.
FAULTS = {
    "signal": (Evaluations, "on_image", get_a_signal),
    "memory": (GradientNorms, "__call__", lack_memory),
    "exception": (Evaluations, "on_scores", break_down),
}

if __name__ == "__main__":
    place = FAULTS[sys.argv.pop(1)]
    with small_networks() as monkeypatch:
        monkeypatch.setattr(*place)
        runpy.run_module("train", run_name="__main__")
