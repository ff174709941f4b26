"""Checkpoints of a run: written whole and flushed, the newest whole one restored, none lost."""

import re
import shutil
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

import tensorflow as tf

from train.common.errors import UserError
from train.common.files import flush, write_whole

KEPT = 3
NAME = re.compile(r"ckpt-(\d+)\.(?:index|data-\d+-of-\d+)")
# What a process that was killed leaves of one that it was writing.
UNFINISHED = ".unfinished-"


def steps(folder: Path) -> list[int]:
    """Return the steps that a folder has files of, the newest first, damaged or not.

    Not from the file `checkpoint`, which may be lost, and not by a pattern: a run's folder may be
    called `a[1]`.
    """
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted({int(found[1]) for found in map(NAME.fullmatch, names) if found}, reverse=True)


def restore_newest(
    folder: Path, restore: Callable[[str], None], only: int | None = None
) -> int | None:
    """Restore the newest checkpoint that is whole; name those that are not.

    Args:
        folder: Where the checkpoints are.
        restore: Restores that of a path without suffix, all of it or with an error of TensorFlow.
        only: The step of the one that is wanted; None: any.

    Returns:
        Its step; None where there is no checkpoint.

    Raises:
        UserError: There are checkpoints, and none can be read.
    """
    damaged = []
    for step in steps(folder) if only is None else [only]:
        path = folder / f"ckpt-{step}"
        try:
            restore(str(path))
        # TensorFlow has an error of its own for almost every kind of damage.
        except (tf.errors.OpError, ValueError, IndexError, RuntimeError) as error:
            damaged.append(f"{path} ({_reason(error)})")
        else:
            if damaged:
                print(f"Damaged: {'; '.join(damaged)}: {path} is used")
            return step
    if damaged:
        raise UserError(
            f"no checkpoint of {folder} can be read: {'; '.join(damaged)}: restore one, or choose "
            "another --run"
        )
    return None


def write(
    checkpoint: tf.train.Checkpoint, folder: Path, step: int, keep: Collection[int] = ()
) -> None:
    """Write a checkpoint, all of it or nothing, and only then remove the oldest.

    Args:
        checkpoint: What is written.
        folder: Where to.
        step: Its name.
        keep: Steps whose checkpoints stay, beside the last ones.

    Raises:
        UserError: It cannot be written, such as on a full disk; those before are still there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=folder) as unfinished:
            written = Path(checkpoint.write(str(Path(unfinished) / f"ckpt-{step}"))).parent
            # The index last: without it the rest is no checkpoint.
            for path in sorted(written.iterdir(), key=lambda path: path.suffix == ".index"):
                flush(path)
                path.rename(folder / path.name)
        flush(folder)
        _note_newest(folder)
    except (tf.errors.OpError, OSError) as error:
        raise UserError(f"{folder}/ckpt-{step} cannot be written: {_reason(error)}") from None
    for old in steps(folder)[KEPT:]:
        if old not in {step, *keep}:  # which damaged ones may be newer than
            _remove(folder, old)
    _note_newest(folder)


def write_unfinished(checkpoint: tf.train.Checkpoint, folder: Path) -> tempfile.TemporaryDirectory:
    """Write a checkpoint that is none of the folder's, and is only for this process.

    Args:
        checkpoint: What is written.
        folder: Where to.

    Returns:
        A folder with the checkpoint "ckpt", which vanishes with this object, or before.

    Raises:
        UserError: It cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        unfinished = tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=folder)
        checkpoint.write(f"{unfinished.name}/ckpt")
    except (tf.errors.OpError, OSError) as error:
        raise UserError(f"{folder} cannot be written: {_reason(error)}") from None
    return unfinished


def set_aside(folder: Path, after: int) -> None:
    """Rename the checkpoints after a step, which are damaged: they are no longer the newest.

    Args:
        folder: Where the checkpoints are.
        after: The step of the newest that is whole.
    """
    for path in [*folder.iterdir()]:
        found = NAME.fullmatch(path.name)
        if found and int(found[1]) > after:
            path.rename(folder / f"damaged-{path.name}")
    _note_newest(folder)


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left; no other process may be writing."""
    for path in [*folder.glob(f"{UNFINISHED}*"), *folder.glob("ckpt-*_temp")]:
        shutil.rmtree(path)


def _remove(folder: Path, step: int) -> None:
    for path in folder.iterdir():
        found = NAME.fullmatch(path.name)
        if found and int(found[1]) == step:
            path.unlink()


def _note_newest(folder: Path) -> None:
    """Write the file by which other programs find the checkpoints: `tf.train.latest_checkpoint`."""
    newest, *_ = names = [f'"ckpt-{step}"' for step in steps(folder)]
    lines = [f"all_model_checkpoint_paths: {name}\n" for name in reversed(names)]
    write_whole(folder / "checkpoint", f"model_checkpoint_path: {newest}\n{''.join(lines)}")


def _reason(error: Exception) -> str:
    return " ".join(str(getattr(error, "message", error)).split())
