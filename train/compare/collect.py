"""The results of a comparison: from files, or of runs that are scored, or trained first."""

from collections.abc import Iterable, Mapping, Sequence
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


def of_recipes(
    recipes: Mapping[str, Path],
    seeds: Sequence[int],
    results: Path,
    runs: Path,
    root: Path | None,
) -> list[RunResults]:
    """Return the results of recipes, seed by seed; train and score what is not on file.

    All is trained before the first run is scored: TensorFlow would keep the GPU's memory in this
    process from then on, which the trainings, in processes of their own, need.

    Args:
        recipes: Their files by name.
        seeds: The seeds.
        results: Folder of the files of results.
        runs: Folder of the runs that are trained.
        root: Folder of the data; None: what the recipes say.

    Raises:
        UserError: Two recipes have one folder; or a file on record, or a run, is of other settings
            than its recipe has now.
    """
    _require_folders(recipes, runs)
    wanted = [(name, seed) for seed in seeds for name in recipes]
    # What cannot be used is said before days of training.
    trained = [has_results(recipes[name], name, seed, results, runs) for name, seed in wanted]
    for (name, seed), is_trained in zip(wanted, trained, strict=True):
        if not is_trained:
            run = run_folder(runs, name, seed)
            print(f"Training {name}, seed {seed}: {run}", flush=True)
            train_recipe(recipes[name], run, seed, root)
    return [
        _read_or_score(run_folder(runs, name, seed), name, results_path(results, name, seed))
        for name, seed in wanted
    ]


def has_results(file: Path, name: str, seed: int, results: Path, runs: Path) -> bool:
    """Return whether a recipe's results are on file, or a finished run of it is there to be scored.

    Args:
        file: The recipe.
        name: Its name.
        seed: The seed.
        results: Folder of the files of results.
        runs: Folder of the runs.

    Raises:
        UserError: They are of other settings than the recipe has now.
    """
    now = training_settings(as_yaml(configuration_parser().parse_args(["--config", str(file)])))
    path, run = results_path(results, name, seed), run_folder(runs, name, seed)
    if path.exists():
        settings = read_results(path).settings
        _require_settings(settings, now, path, "remove it, or choose another --results")
        return True
    if not (run / CONFIG).is_file():
        return False
    settings = training_settings((run / CONFIG).read_text())
    _require_settings(settings, now, run, "remove it, or choose another --output")
    return is_finished(run)


def of_run(run: Path, results: Path) -> RunResults:
    """Return the results of a finished run; score it if they are not on file.

    Args:
        run: Its folder, whose name without `-seed0` and the like is that of the results; one that
            is not there is known by its whole name, if its results are on file.
        results: Folder of the files of results.

    Raises:
        UserError: It is not finished, or the file on record is of other settings.
    """
    name = run_name(run)
    path = results_path(results, name, _seed_of(run))
    found = _read_or_score(run, name, path)
    if (run / CONFIG).is_file():
        now = training_settings((run / CONFIG).read_text())
        _require_settings(found.settings, now, path, "remove it, or choose another --results")
    return found


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


def _require_folders(recipes: Iterable[str], runs: Path) -> None:
    """Refuse two recipes whose runs would be in one folder, such as camvid/ce and camvid_ce.

    Raises:
        UserError: There are such.
    """
    found: dict[Path, str] = {}
    for name in recipes:
        folder = run_folder(runs, name, 0)
        if folder in found:
            raise UserError(
                f"--recipes: the runs of {found[folder]} and {name} would be in the same folder: "
                "give the file of one another name"
            )
        found[folder] = name


def _require_settings(
    settings: Mapping[str, object], now: Mapping[str, object], where: Path, remedy: str
) -> None:
    changes = differences(settings, now, training_settings(default_yaml()))
    if changes:
        raise UserError(f"{where} is of other settings: {changes}; {remedy}")


def _read_or_score(run: Path, name: str, path: Path) -> RunResults:
    """Read the file of results of a run; score the run and write it, where there is none."""
    if path.exists():
        return read_results(path)
    print(f"Scoring {run}", flush=True)
    with progress_bars() as progress:
        task = progress.add_task("scoring", total=None)
        results = score(run, name, lambda _: progress.advance(task))
    write_results(path, results)
    return results
