"""The configuration of a run: parsed from recipes and command lines, and as YAML."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace, set_parsing_settings

from train.common.errors import UserError
from train.config import SGD, FitConfig
from train.runs.mistakes import explain_mistake, public_names

# The keys whose value is named by its class, and the classes and options where none is named.
DEFAULT_CLASSES = {
    "loss": {"class_path": "tfsegloss.RMILoss"},
    "optimizer": {"class_path": "keras.optimizers.SGD", "init_args": SGD.keywords},
}
# A recipe may come from anywhere, and importing runs code: it can name the classes of these modules
# (Keras defines its own in private ones), and of those that `--import` names.
IMPORTABLE = [
    "tfsegloss",
    *(f"{keras}.losses" for keras in ("keras", "keras.src")),
    *(f"{keras}.optimizers" for keras in ("keras", "keras.src")),
]
set_parsing_settings(
    import_path_denylist=["*"],
    import_path_allowlist=IMPORTABLE,
    instantiate_subclass_spec_in_any=False,
)


class ConfigurationParser(ArgumentParser):
    """A parser in which each class that is chosen by name has its own defaults."""

    # By key: the class where none is named, and its options. jsonargparse makes parsers of this
    # type for the options of each class too: these have no such keys.
    default_classes: Mapping[str, Mapping[str, Any]] = {}

    def parse_args(
        self, args: Sequence[str] | None = None, namespace: Namespace | None = None, **options
    ) -> Namespace:
        """Parse a command line, twice: only then is it known whose defaults hold.

        Where another class is named than the default one, jsonargparse gives it the default one's
        options as far as it has options of these names: Adam would get the learning rate of SGD.

        Args:
            args: The command line.
            namespace: Where the values go to.
            **options: Passed on.
        """
        if not self.default_classes:
            return super().parse_args(args, namespace, **options)
        args = _recipes_first(sys.argv[1:] if args is None else args)
        try:
            return self._parse_twice(args, **options)
        except ArgumentError as error:
            raise ArgumentError(None, explain_mistake(str(error))) from None

    def _parse_twice(self, args: Sequence[str], **options) -> Namespace:
        self.set_defaults(self.default_classes)
        wanted = [argument for argument in args if not argument.startswith("--print_config")]
        values = super().parse_args(wanted, **options)
        self.set_defaults(
            {key: _defaults_of(values[key], old) for key, old in self.default_classes.items()}
        )
        parsed = super().parse_args(args, **options)
        parsed.base = None  # has been read
        return parsed

    def dump(self, *arguments, **options) -> str:
        """Return the values as YAML."""
        return public_names(super().dump(*arguments, **options))

    def format_help(self) -> str:
        """Return the help."""
        return public_names(super().format_help())


def _recipes_first(args: Sequence[str]) -> list[str]:
    """Put `--config RECIPE` first: it would override the options before it."""
    recipes, others = [], []
    rest = iter(args)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if name == "--base":
            raise ArgumentError(None, f"{argument}: only a recipe has a base; name it by --config")
        if name != "--config":
            others.append(argument)
        elif path := value if equals else next(rest, None):
            recipes += [f"--config={each}" for each in _with_bases(Path(path))]
        else:
            others.append(argument)  # the parser says that there is none
    return recipes + others


def _with_bases(recipe: Path) -> list[Path]:
    """Return a recipe after those that it changes."""
    chain = [recipe]
    while base := _base_of(chain[0]):
        if base.resolve() in [path.resolve() for path in chain]:
            raise ArgumentError(None, f"{recipe}: `base` leads back to {base}")
        chain.insert(0, base)
    return chain


def _base_of(recipe: Path) -> Path | None:
    """Return the recipe that one changes; None where it is a whole one, or none that can be read.

    Raises:
        ArgumentError: There is no such recipe.
    """
    try:
        base = yaml.safe_load(recipe.read_text()).get("base")
    except (OSError, ValueError, AttributeError, yaml.YAMLError):
        return None  # the parser will say what is wrong
    if base is None:
        return None
    path = recipe.parent / str(base)
    if not path.is_file():
        raise ArgumentError(None, f"{recipe}: base: no file {path}")
    return path


def configuration_parser(**options) -> ArgumentParser:
    """Return a parser of the keys of `FitConfig`.

    Args:
        **options: Those of a parser, such as `description`.
    """
    parser = ConfigurationParser(exit_on_error=False, allow_abbrev=False, **options)
    parser.add_argument("--config", action="config", help="A recipe (YAML); options override it.")
    parser.add_class_arguments(FitConfig, fail_untyped=False)  # Keras' optimizers have no types
    parser.default_classes = DEFAULT_CLASSES
    parser.set_defaults(DEFAULT_CLASSES)
    return parser


def _defaults_of(value: Any, default: Mapping[str, Any]) -> Mapping[str, Any]:
    path = getattr(value, "class_path", None)
    if path is None or public_names(path) == default["class_path"]:
        return default
    return {"class_path": path}


def instantiate(values: Namespace) -> FitConfig:
    """Make the configuration of parsed values.

    Raises:
        UserError: A class refuses its options.
    """
    _check_optimizer(values.optimizer)
    try:
        instances = configuration_parser().instantiate(values)
    except ValueError as error:
        raise UserError(str(error)) from None
    return FitConfig(**{name: instances[name] for name in FitConfig.__dataclass_fields__})


def _check_optimizer(values: Any) -> None:
    """Refuse what the parser lets through, since Keras' optimizers do not say their types."""
    if not isinstance(values, Namespace):
        raise UserError(f"optimizer must be a class, such as SGD or AdamW; got {values!r}")
    options = values.get("init_args", Namespace())
    if "learning_rate" not in options:
        name = public_names(values.class_path)
        raise UserError(f"optimizer: {name} has no learning_rate, which the schedule changes")
    for name, value in options.items():
        if isinstance(value, str) and name != "name":
            raise UserError(f"optimizer.{name} must be a number; got {value!r}")


def default_yaml() -> str:
    """Return the configuration of a run without any option as YAML."""
    return as_yaml(configuration_parser().parse_args([]))


def as_yaml(values: Namespace) -> str:
    """Return the full configuration as YAML.

    Args:
        values: Parsed values.
    """
    return configuration_parser().dump(values, skip_unset=False)
