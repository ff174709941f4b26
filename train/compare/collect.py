"""The results of a comparison: from files, or of runs that are scored, or trained first."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from train.common.errors import UserError
from train.common.progress import progress_bars
from train.compare.execute import train_recipe
from train.compare.results import (
    SEED,
    RunResults,
    read_results,
    results_path,
    without_seed,
    write_results,
)
from train.compare.score import is_finished, score
from train.runs.configuration import as_yaml, configuration_parser, default_yaml
from train.runs.folder import CONFIG, differences, training_settings
from train.runs.load import load_config

RECIPES = Path(__file__).parents[1] / "recipes"


def find_recipe(recipe: str) -> tuple[str, Path]:
    """Return the name and the file of a recipe.

    Args:
        recipe: A name in `train/recipes`, such as camvid/ce, or a file of your own.

    Raises:
        UserError: There is none.
    """
    known = RECIPES / f"{recipe}.yaml"
    if known.is_file():
        return recipe, known
    path = Path(recipe)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return path.stem, path
    raise UserError(
        f"--recipes: no recipe {recipe}: expected a file, or a name such as camvid/ce of {RECIPES}"
    )


def of_recipe(
    recipe: tuple[str, Path], seed: int, results: Path, runs: Path, root: Path | None
) -> RunResults:
    """Return the results of a recipe and a seed; train and score what is not on file.

    Args:
        recipe: Its name and file.
        seed: The seed.
        results: Folder of the files of results.
        runs: Folder of the runs that are trained.
        root: Folder of the data; None: what the recipe says.

    Raises:
        UserError: The file on record, or the run, is of other settings than the recipe has now.
    """
    name, file = recipe
    path = results_path(results, name, seed)
    now = training_settings(as_yaml(configuration_parser().parse_args(["--config", str(file)])))
    if path.exists():
        return _on_file(path, now)
    run = run_folder(runs, name, seed)
    if has_run(run):
        settings = training_settings((run / CONFIG).read_text())
        _require_settings(settings, now, run, "remove it, or choose another --output")
    else:
        print(f"Training {name}, seed {seed}: {run}", flush=True)
        train_recipe(file, run, seed, root)
    return _scored(run, name, path)


def of_run(run: Path, results: Path) -> RunResults:
    """Return the results of a finished run; score it if they are not on file.

    Args:
        run: Its folder, whose name without `-seed0` and the like is that of the results; one that
            is not there is known by its whole name, if its results are on file.
        results: Folder of the files of results.

    Raises:
        UserError: It is not finished, or the file on record is of other settings.
    """
    name, seed = run_name(run), _seed_of(run)
    path = results_path(results, name, seed)
    if not path.exists():
        return _scored(run, name, path)
    if not (run / CONFIG).is_file():
        return read_results(path)
    return _on_file(path, training_settings((run / CONFIG).read_text()))


def run_folder(runs: Path, name: str, seed: int) -> Path:
    """Return the folder of the run of a recipe and a seed."""
    return runs / f"{name.replace('/', '_')}-seed{seed}"


def run_name(run: Path) -> str:
    """Return what a run is called in a comparison: its folder's name without the seed."""
    return without_seed(run.resolve().name)


def _seed_of(run: Path) -> int:
    """Return the seed of a run, by its folder's name where the folder is not there.

    Raises:
        UserError: It is not there, and its name does not say.
    """
    named = SEED.search(run.resolve().name)
    if named and not run.exists():
        return int(named[1])
    return load_config(run).trainer.seed


def has_run(run: Path) -> bool:
    """Return whether a finished run is in a folder."""
    return (run / CONFIG).is_file() and is_finished(run)


def require_one_run_each(runs: Sequence[Path]) -> None:
    """Refuse two runs of one name and seed, of which one would take the place of the other.

    Raises:
        UserError: There are such.
    """
    found: dict[tuple[str, int], Path] = {}
    for run in runs:
        key = run_name(run), _seed_of(run)
        if key in found:
            raise UserError(
                f"--runs: {found[key]} and {run} are both {key[0]} with seed {key[1]}: give the "
                "folder of one another name"
            )
        found[key] = run


def _on_file(path: Path, now: dict[str, object]) -> RunResults:
    """Read a file of results, if it is of these settings."""
    results = read_results(path)
    _require_settings(results.settings, now, path, "remove it, or choose another --results")
    return results


def _require_settings(
    settings: Mapping[str, object], now: Mapping[str, object], where: Path, remedy: str
) -> None:
    changes = differences(settings, now, training_settings(default_yaml()))
    if changes:
        raise UserError(f"{where} is of other settings: {changes}; {remedy}")


def _scored(run: Path, name: str, path: Path) -> RunResults:
    """Score a run, and write the file."""
    print(f"Scoring {run}", flush=True)
    with progress_bars() as progress:
        task = progress.add_task("scoring", total=None)
        results = score(run, name, lambda _: progress.advance(task))
    write_results(path, results)
    return results
