"""What XLA gets to compile of the losses on windows: as much for many classes as for some."""

import functools

import tensorflow as tf

from tests.tfsegloss.grid import grid
from tests.tfsegloss.steps import step_of
from tfsegloss import AffinityFieldLoss, LADLoss, SoftmaxCrossEntropy, SSIMLoss, SSLLoss
from tfsegloss.kernels import row_blocks, xla

losses = grid(
    lambda loss: loss in ("LAD", "SSIM"),
    loss={
        "LAD": LADLoss(kernel_size=3),
        "SSL": SSLLoss(),
        "SSIM": SSIMLoss(),
        "affinity": AffinityFieldLoss(downsample_factor=2),
    },
)


def operations(loss, num_classes, device):
    """Return the lines of a step's program, forward and backward."""
    ids, logits = tf.zeros([2, 24, 9], tf.int32), tf.zeros([2, 24, 9, num_classes])
    of_loss = step_of(loss)
    step = tf.function(lambda ids, logits: of_loss(ids, logits), jit_compile=True)
    with xla.planned_for(device):
        return step.experimental_get_compiler_ir(ids, logits)(stage="hlo").splitlines()


def loops(loss, device):
    return sum(" while(" in line for line in operations(loss, 3, device))


@functools.cache
def loops_of_the_check():
    return loops(SoftmaxCrossEntropy(), "GPU")


@losses
def test_the_program_does_not_grow_with_the_classes(monkeypatch, loss):
    monkeypatch.setattr(row_blocks, "BLOCK_BYTES", 1)  # or few classes are one block
    some, many = (operations(loss, num_classes, "CPU") for num_classes in (40, 160))
    assert len(many) == len(some)


@losses
def test_a_gpu_gets_no_loop_over_blocks(monkeypatch, loss):
    """But that of the check of the labels, which all losses have, and LAD's over its window."""
    monkeypatch.setattr(row_blocks, "BLOCK_BYTES", 1)
    of_window = 5 if isinstance(loss, LADLoss) else 0  # of weights and sums, forward and backward

    assert loops(loss, "GPU") == loops_of_the_check() + of_window
    assert loops(loss, "CPU") > loops_of_the_check()
