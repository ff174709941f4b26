"""What is wrong with a configuration, in words for the one who wrote it."""

import difflib
import inspect
import re
from collections.abc import Callable, Sequence

import keras

import tfsegloss
from tfsegloss import SegmentationLoss

# jsonargparse names a class by the module that defines it; that of Keras' classes is private.
PRIVATE_NAME = re.compile(r"keras\.src\.optimizers\.(?:\w+\.)*([A-Z]\w*)")
# What jsonargparse puts before the reason of an error.
UNREADABLE = re.compile(r"Type \S*Callable\[\[\], \S*\] expects a function or a callable class:\s*")
KEY = r'Parser key "(?P<key>[\w.]+)": '
NO_CLASS = re.compile(
    KEY
    + r"(?:Problem with given class_path .*?: )?"
    + r"(?:Expected a dot import path string: |Importing ')(?P<name>[^\s']*)"
)
NO_CHOICE = re.compile(
    KEY + r"Expected a typing\.Literal\[(?P<choices>.*?)\]\. Got value: (?P<name>.*)"
)
NO_TUPLE = re.compile(KEY + r"Expected a <class 'tuple'>\. Got value: (?P<name>[-\d.]+)$")


def public_names(text: str) -> str:
    """Replace private names of Keras' optimizers by public ones.

    Example:

    >>> public_names("class_path: keras.src.optimizers.lamb.Lamb")
    'class_path: keras.optimizers.Lamb'
    """
    return PRIVATE_NAME.sub(r"keras.optimizers.\1", text)


def explain_mistake(message: str) -> str:
    """Return a parser's message with what is meant by it, and what was probably meant.

    Example:

    >>> explain_mistake('Parser key "input.crop": Expected a <class \\'tuple\\'>. Got value: 144')
    "input.crop: expected numbers in one value, such as '[144, 192]'; got 144"
    """
    message = UNREADABLE.sub("", public_names(" ".join(message.split())))
    for pattern, explain in EXPLANATIONS.items():
        if found := pattern.search(message):
            return explain(**found.groupdict())
    return message


def _no_class(key: str, name: str) -> str:
    known = _optimizers() if key == "optimizer" else _losses()
    own = "" if key == "optimizer" else "; for one of your own: python -m train --import MODULE …"
    return f"{key}: no class {name!r}{_nearest(name, known)}: expected {', '.join(known)}{own}"


def _no_choice(key: str, name: str, choices: str) -> str:
    known = re.findall(r"'([^']*)'|(\w+)", choices)
    known = [quoted or bare for quoted, bare in known]
    return f"{key}: no {name!r}{_nearest(name, known)}: expected {', '.join(known)}"


def _no_tuple(key: str, name: str) -> str:
    return f"{key}: expected numbers in one value, such as '[144, 192]'; got {name}"


EXPLANATIONS: dict[re.Pattern, Callable[..., str]] = {
    NO_CLASS: _no_class,
    NO_CHOICE: _no_choice,
    NO_TUPLE: _no_tuple,
}


def _losses() -> list[str]:
    own = {
        cls.__name__ for cls in _subclasses(SegmentationLoss) if not cls.__name__.startswith("_")
    }
    first = [*tfsegloss.registry.LOSSES, "WeightedLosses"]
    return first + sorted(own - {*first, "PixelLoss", "StatefulLoss"})


def _optimizers() -> list[str]:
    """Return the classes whose learning rate a schedule can change."""
    return [
        name
        for name, kind in vars(keras.optimizers).items()
        if isinstance(kind, type)
        and issubclass(kind, keras.optimizers.Optimizer)
        and "learning_rate" in inspect.signature(kind).parameters
        and name not in ("Optimizer", "ScheduleFreeAdamW")
    ]


def _subclasses(kind: type) -> set[type]:
    direct = kind.__subclasses__()
    return {*direct, *(deep for one in direct for deep in _subclasses(one))}


def _nearest(name: str, known: Sequence[str]) -> str:
    lower = {each.lower(): each for each in known}
    found = difflib.get_close_matches(name.rpartition(".")[-1].lower(), lower, n=3)
    return f" (did you mean {' or '.join(lower[each] for each in found)}?)" if found else ""
