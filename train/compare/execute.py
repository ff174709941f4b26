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


def score_run(run: Path, name: str, results: Path) -> None:
    """Score a finished run, and write its results.

    Args:
        run: Its folder.
        name: What it is a run of.
        results: Folder of the files of results.

    Raises:
        UserError: It cannot be scored; it has been said why.
    """
    _execute("score", [str(run), f"--name={name}", f"--results={results}"], run)


def _execute(command: str, options: list[str], run: Path) -> None:
    # In a session of its own: Ctrl-C of a terminal would reach the process twice.
    with subprocess.Popen(command_line(command, options), start_new_session=True) as process:
        status = _wait(process)
    if status:
        raise UserError(
            f"{command} of {run} ended with status {status}: once that is mended, the same "
            "command goes on"
        )


def _wait(process: subprocess.Popen) -> int:
    """Wait for a process, and send every signal on: a run saves its step at the first one.

    Raises:
        KeyboardInterrupt: There was one, and the process has ended.
    """
    stop = None
    while True:
        try:
            if stop is not None:
                process.send_signal(getattr(stop, "signal", signal.SIGINT))
            status = process.wait()
            break
        except KeyboardInterrupt as again:
            stop = again
    if stop is not None:
        raise stop
    return status
