"""Commands of `train` in processes of their own: what TensorFlow holds there ends with them."""

import signal
import subprocess
from pathlib import Path

from train.common.cli import command_line
from train.common.errors import UserError


def train_recipe(recipe: Path, run: Path, seed: int, root: Path | None) -> None:
    """Train a recipe, or go on with a run of it that was stopped.

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
    _execute("fit", options, run)


def score_run(run: Path, name: str, path: Path) -> None:
    """Score a finished run, and write its results.

    Args:
        run: Its folder.
        name: What it is a run of.
        path: The file of results.

    Raises:
        UserError: It cannot be scored; it has been said why.
    """
    _execute("score", [str(run), f"--name={name}", f"--output={path}"], run)


def _execute(command: str, options: list[str], run: Path) -> None:
    # In a session of its own: Ctrl-C of a terminal would reach the process twice.
    with subprocess.Popen(command_line(command, options), start_new_session=True) as process:
        try:
            status = process.wait()
        except KeyboardInterrupt as stop:
            _pass_on(process, stop)
            raise
        finally:
            process.kill()  # if it still runs
    if status:
        raise UserError(
            f"{command} of {run} ended with status {status}: once that is mended, the same "
            "command goes on"
        )


def _pass_on(process: subprocess.Popen, stop: KeyboardInterrupt) -> None:
    """Send a signal on, and what comes after it: a run saves its step at the first one."""
    while True:
        process.send_signal(getattr(stop, "signal", signal.SIGINT))
        try:
            process.wait()
            return
        except KeyboardInterrupt as again:
            stop = again
