"""Results and runs, held against each other and against what there is now of their recipes."""

from collections.abc import Mapping
from pathlib import Path

from train.common.errors import UserError
from train.compare.results import RunResults, read_results
from train.compare.score import Data, has_finished, last_step
from train.runs.configuration import default_yaml
from train.runs.folder import CONFIG, differences, training_settings
from train.runs.summary import read_origin


def read_of_run(run: Path, path: Path) -> RunResults:
    """Read results, and hold them against their run, if that is there.

    Args:
        run: Its folder, which may not be there.
        path: The file.

    Raises:
        UserError: The file is damaged, or of other settings or of another training.
    """
    found = read_results(path)
    if (run / CONFIG).is_file():
        now = training_settings((run / CONFIG).read_text())
        require_settings(found.settings, now, path, "remove it, or choose another --results")
    require_of_run(found, run, path)
    return found


def require_of_run(results: RunResults, run: Path, path: Path) -> None:
    """Hold results against the run in a folder, if a finished one is there.

    Raises:
        UserError: They are of another training.
    """
    if not has_finished(run):
        return
    now, then = (last_step(run), _began(read_origin(run))), (results.step, _began(results.origin))
    if now != then:
        raise UserError(
            f"{path} is of a training of {then[1]}, step {then[0]}, and {run} of {now[1]}, step "
            f"{now[0]}: remove one of the two"
        )


def require_settings(
    settings: Mapping[str, object], now: Mapping[str, object], where: Path, remedy: str
) -> None:
    """Refuse settings that are not those of now.

    Args:
        settings: By dotted keys.
        now: Those they are held against.
        where: File or folder that they are of.
        remedy: What to do where they differ.

    Raises:
        UserError: They differ.
    """
    changes = differences(settings, now, training_settings(default_yaml()))
    if changes:
        raise UserError(f"{where} is of other settings: {changes}; {remedy}")


def require_data(found: Data, now: Data, where: Path, option: str) -> None:
    """Refuse data that are not those of now.

    Args:
        found: What was trained and scored on.
        now: What `--data.root` holds.
        where: File or folder that they are of.
        option: Which option names another one.

    Raises:
        UserError: They differ.
    """
    pairs = zip(Data._fields, found, now, strict=True)
    changed = [field for field, before, after in pairs if before != after]
    if changed:
        raise UserError(
            f"{where} is of other {changed[0].replace('_', ' ')} than --data.root has: choose "
            f"another {option}"
        )


def _began(origin: Mapping[str, object]) -> object:
    return origin.get("time", "unknown time")
