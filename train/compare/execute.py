"""Training of the runs that a comparison lacks, one after the other, each in its own process."""

import signal
import subprocess
import sys
from pathlib import Path

from train.common.errors import UserError


def train_recipe(recipe: Path, run: Path, seed: int, root: Path | None) -> None:
    """Train a recipe, or go on with a run of it that was stopped.

    In a process of its own: what TensorFlow compiled, and what options changed in it, ends with it.

    Args:
        recipe: The file.
        run: Folder of the run.
        seed: The seed.
        root: Folder of the data; None: what the recipe says.

    Raises:
        UserError: The run failed; it has said why.
    """
    options = [f"--config={recipe}", f"--run={run}", f"--trainer.seed={seed}"]
    if root is not None:
        options.append(f"--data.root={root}")
    command = [sys.executable, "-m", "train", "fit", *options]
    # In a session of its own: Ctrl-C of a terminal would reach the run twice.
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            status = process.wait()
        except KeyboardInterrupt as stop:  # the run saves its step and ends
            process.send_signal(getattr(stop, "signal", signal.SIGINT))
            process.wait()
            raise
    if status:
        raise UserError(
            f"{run} ended with status {status}: once that is mended, the same command goes on"
        )
