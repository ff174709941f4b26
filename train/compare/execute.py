"""Commands of `train` in processes of their own: what TensorFlow holds there ends with them."""

import subprocess
from contextlib import suppress
from pathlib import Path

from train.common import signals
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
    """Run a command to its end.

    Raises:
        UserError: It failed, after a signal too, such as where a step could not be saved.
        KeyboardInterrupt: There was a signal, and the command has ended.
    """
    child = _Child()
    # Before the process is there: none that comes in between is lost, nor is the process.
    with signals.heard_by(child.hear):
        status = child.run(command_line(command, options))
    heard = child.signals
    if status and not (heard and signals.is_status(status)):
        raise UserError(
            f"{command} of {run} {signals.status_in_words(status)}: once that is mended, the same "
            "command goes on"
        )
    if heard:
        raise signals.Interrupted(heard[-1], is_second=len(heard) > 1)


class _Child:
    """A process that gets every signal that this one gets: a run saves its step at the first."""

    def __init__(self):
        self.signals: list[int] = []
        self._not_sent: list[int] = []
        self._process: subprocess.Popen | None = None

    def hear(self, number: int) -> None:
        """Note a signal, and send it on."""
        self.signals.append(number)
        self._not_sent.append(number)
        if self._process is not None:
            self._send()

    def run(self, words: list[str]) -> int:
        """Start the process, and return its status when it has ended."""
        # In a session of its own: Ctrl-C of a terminal would reach the process twice.
        self._process = subprocess.Popen(words, start_new_session=True)
        try:
            self._send()
            return self._process.wait()
        finally:
            self._process.kill()  # does nothing where it has ended
            self._process.wait()

    def _send(self) -> None:
        """Send what is noted, each once, also where another one comes meanwhile."""
        with suppress(IndexError):
            while True:
                self._process.send_signal(self._not_sent.pop(0))
