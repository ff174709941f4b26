"""The results of a comparison: from files, or of runs that are scored, or trained first."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from train.common.errors import UserError
from train.compare.agreement import read_of_run, require_data, require_of_run, require_settings
from train.compare.entries import require_comparable
from train.compare.execute import score_run, train_recipe
from train.compare.results import SEED, RunResults, read_results, results_path
from train.compare.score import Data, data_of, has_finished, require_scorable, run_name
from train.runs.configuration import as_yaml, configuration_parser, default_yaml, instantiate
from train.runs.folder import CONFIG, require_same, training_settings
from train.runs.load import load_config

RECIPES = Path(__file__).parents[1] / "recipes"


def find_recipe(recipe: str) -> tuple[str, Path]:
    """Return the name and the file of a recipe.

    Args:
        recipe: A name in `train/recipes`, such as camvid/ce, or a file.

    Raises:
        UserError: There is none.
    """
    known = RECIPES / f"{recipe}.yaml"
    if known.is_file():
        return recipe, known
    path = Path(recipe)
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        raise UserError(
            f"--recipes: no recipe {recipe}: expected a file, or a name such as camvid/ce of "
            f"{RECIPES}"
        )
    inside = path.resolve().is_relative_to(RECIPES)
    named = path.resolve().relative_to(RECIPES) if inside else Path(path.name)
    return named.with_suffix("").as_posix(), path


def run_folder(runs: Path, name: str, seed: int) -> Path:
    """Return the folder of the run of a recipe and a seed."""
    return runs / f"{name}-seed{seed}"


@dataclass(frozen=True)
class _Wanted:
    """A run of a recipe that a comparison needs.

    Args:
        recipe: The recipe's file.
        name: The recipe's name.
        seed: The seed.
        results_folder: Folder of the files of results.
        runs: Folder of the runs.
        root: Folder of the data; None: what the recipe says.
    """

    recipe: Path
    name: str
    seed: int
    results_folder: Path
    runs: Path
    root: Path | None

    @property
    def path(self) -> Path:
        """The file of its results."""
        return results_path(self.results_folder, self.name, self.seed)

    @property
    def run(self) -> Path:
        """The folder of the run."""
        return run_folder(self.runs, self.name, self.seed)

    def require_usable(self) -> None:
        """Hold what is there of the run against what the recipe is now.

        Raises:
            UserError: It is of other settings or data.
        """
        run = [f"--run={self.run}", f"--trainer.seed={self.seed}"]
        root = [] if self.root is None else [f"--data.root={self.root}"]
        config = configuration_parser().parse_args([f"--config={self.recipe}", *run, *root])
        settings = training_settings(as_yaml(config))
        if self.path.exists():
            results = self.read()
            remedy = "remove it, or choose another --results"
            require_settings(results.settings, settings, self.path, remedy)
            if self.root is not None:
                data = Data(results.class_names, results.images, results.training_images)
                require_data(data, data_of(instantiate(config)), self.path, "--results")
            require_of_run(results, self.run, self.path)
        elif has_finished(self.run):
            self._require_seed()
            found = training_settings((self.run / CONFIG).read_text())
            require_settings(found, settings, self.run, "remove it, or choose another --output")
            if self.root is not None:
                data = data_of(load_config(self.run))
                require_data(data, data_of(instantiate(config)), self.run, "--output")
            require_scorable(self.run)
        elif (self.run / CONFIG).is_file():
            remedy = "remove that folder, or choose another --output"
            require_same(self.run / CONFIG, as_yaml(config), default_yaml(), remedy)

    def _require_seed(self) -> None:
        """Refuse a finished run of another seed, such as one that was copied or renamed."""
        seed = load_config(self.run).trainer.seed
        if seed != self.seed:
            raise UserError(
                f"{self.run} is of seed {seed}, not of {self.seed}: give the folder the name of "
                "its seed, or choose another --output"
            )

    def results(self) -> RunResults:
        """Return the results; train and score what is not there yet."""
        if not self.path.exists():
            if not has_finished(self.run):
                print(f"Training {self.name}, seed {self.seed}: {self.run}", flush=True)
                train_recipe(self.recipe, self.run, self.seed, self.root)
            score_run(self.run, self.name, self.results_folder)
        return self.read()

    def read(self) -> RunResults:
        """Return the results on file.

        Raises:
            UserError: The file is damaged, or of another recipe.
        """
        results = read_results(self.path)
        if results.name != self.name:
            raise UserError(
                f"{self.path} is of {results.name}, not of {self.name}: remove it, or choose "
                "another --results"
            )
        return results


def of_recipes(
    recipes: Mapping[str, Path],
    seeds: Sequence[int],
    results: Path,
    runs: Path,
    root: Path | None,
) -> list[RunResults]:
    """Return the results of recipes, seed by seed; train and score what is not on file.

    Each run is scored before the next one is trained, both in processes of their own: a comparison
    that is stopped keeps what it has, and no GPU's memory is held meanwhile.

    Args:
        recipes: Their files by name.
        seeds: The seeds.
        results: Folder of the files of results.
        runs: Folder of the runs that are trained.
        root: Folder of the data; None: what the recipes say.

    Raises:
        UserError: A file on record, or a run, is of other settings or data than its recipe has
            now; or they cannot be compared with each other.
    """
    wanted = [
        _Wanted(file, name, seed, results, runs, root)
        for seed in seeds
        for name, file in recipes.items()
    ]
    # What cannot be used is said before days of training.
    for one in wanted:
        one.require_usable()
    require_comparable([one.read() for one in wanted if one.path.exists()])
    results.mkdir(parents=True, exist_ok=True)
    found: list[RunResults] = []
    for one in wanted:
        found.append(one.results())
        require_comparable([found[0], found[-1]])
    return found


def of_runs(runs: Sequence[Path], results: Path) -> list[RunResults]:
    """Return the results of finished runs; score those whose results are not on file.

    Args:
        runs: Their folders, whose names without `-seed0` and the like are those of the results; one
            that is not there is known by its whole name, if its results are on file.
        results: Folder of the files of results.

    Raises:
        UserError: A run is not finished, or the file on record is of another run; or two runs have
            one name and seed.
    """
    _require_one_run_each(runs)
    paths = [results_path(results, run_name(run), _seed_of(run)) for run in runs]
    for run, path in zip(runs, paths, strict=True):
        if not path.exists():
            require_scorable(run)
    for run, path in zip(runs, paths, strict=True):
        if not path.exists():
            score_run(run, run_name(run), results)
    return [read_of_run(run, path) for run, path in zip(runs, paths, strict=True)]


def _seed_of(run: Path) -> int:
    """Return the seed of a run, by its folder's name where the folder is not there.

    Raises:
        UserError: It is not there, and its name does not say.
    """
    named = SEED.search(run.resolve().name)
    if named and not run.exists():
        return int(named[1])
    return load_config(run).trainer.seed


def _require_one_run_each(runs: Iterable[Path]) -> None:
    """Refuse two runs of one name and seed, of which one would take the place of the other."""
    found: dict[tuple[str, int], Path] = {}
    for run in runs:
        key = run_name(run), _seed_of(run)
        if key in found:
            raise UserError(
                f"--runs: {found[key]} and {run} are both {key[0]} with seed {key[1]}: give the "
                "folder of one another name"
            )
        found[key] = run
