"""Imports run one way: tfsegloss, models → train → savedmodels; public API only; no cycles."""

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "tfsegloss": {"tfsegloss"},
    "models": {"models"},
    "train": {"train", "tfsegloss", "models"},
    "savedmodels": {"savedmodels", "train", "tfsegloss", "models"},
}
# What the wheel depends on.
LIBRARIES = {
    "tfsegloss": {"tensorflow", "keras", "numpy"},
    "models": {"tensorflow", "keras", "numpy"},
}
# Of an extra: imported inside the functions that need it.
OPTIONAL = {"tfsegloss": {"matplotlib"}, "models": {"rich", "h5py", "jsonargparse"}}
PRIVATE = ("keras.src", "tensorflow.python")
# Inside a folder too imports run one way: each name may import those before it. What is in one
# tuple stands beside each other: there neither imports the other. A name stands for the module or
# for all modules of a package.
ORDER = {
    "tfsegloss": (
        "core",
        "kernels",
        "poolings",
        "losses",
        ("metrics", "explain", "benchmark"),
    ),
    "models": (
        "keras_3",
        "checks",
        "class_count",
        "layer_names",
        "parts",
        "zip_members",
        "stored_weights",
        "layers",
        "dilation",
        "backbones",
        "architectures",
        "builder",
        "weights",
        "summary",
        "commands",
        "__main__",
    ),
    "train": (
        "common",
        "data.decoding",
        "data.samples",
        "data.datasets",
        "data.imports",
        "config",
        "data.input",
        "loop",
        "reports",
        "runs",
        ("bench", "compare"),
        "commands",
        "__main__",
    ),
    "savedmodels": ("archive", ("export", "evaluate", "predict"), "__main__"),
}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path, everywhere=True):
    """Full names of everything a file imports, in its functions too or when it is imported."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_no_arrow_backwards_and_no_private_api(folder):
    for path in (ROOT / folder).rglob("*.py"):
        for name in imports(path):
            assert not name.startswith(PRIVATE), f"{path} imports {name}"
            top = name.split(".")[0]
            assert top not in MAY_IMPORT or top in MAY_IMPORT[folder], f"{path} imports {name}"


@pytest.mark.parametrize("folder", LIBRARIES)
def test_no_other_dependency(folder):
    allowed = LIBRARIES[folder] | OPTIONAL.get(folder, set()) | {folder} | sys.stdlib_module_names
    for path in (ROOT / folder).rglob("*.py"):
        assert {name.split(".")[0] for name in imports(path)} <= allowed, path


@pytest.mark.parametrize("folder", OPTIONAL)
def test_optional_dependencies_are_imported_in_functions(folder):
    for path in (ROOT / folder).rglob("*.py"):
        needed = {name.split(".")[0] for name in imports(path, everywhere=False)}
        assert not needed & OPTIONAL[folder], path


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_no_cycle(folder):
    paths = {module_name(path): path for path in (ROOT / folder).rglob("*.py")}
    graph = {
        module: {name for name in imports(path) if name in paths and name != module}
        for module, path in paths.items()
    }
    # A package's __init__ gathers its modules; that they live in it is no cycle.
    for module in graph:
        graph[module] -= {p for p in paths if module.startswith(p + ".")}
    assert list(TopologicalSorter(graph).static_order())


def beside(names):
    return (names,) if isinstance(names, str) else names


def place(folder, module):
    """Where a module stands in the order of its folder: (rank, name); None for no module of it."""
    for rank, names in enumerate(ORDER[folder]):
        for name in beside(names):
            if f"{module}.".startswith(f"{folder}.{name}."):
                return rank, name
    return None


def backward_arrow(folder, module, imported):
    """Whether a module imports what stands after or beside it."""
    ours, theirs = place(folder, module), place(folder, imported)
    return None not in (ours, theirs) and theirs != ours and theirs[0] >= ours[0]


@pytest.mark.parametrize("folder", ORDER)
def test_imports_run_one_way_inside_a_folder(folder):
    for path in (ROOT / folder).rglob("*.py"):
        for name in imports(path):
            assert not backward_arrow(folder, module_name(path), name), f"{path} imports {name}"


@pytest.mark.parametrize("folder", ORDER)
def test_every_module_has_its_place_in_the_order(folder):
    for path in (ROOT / folder).rglob("*.py"):
        if path.name != "__init__.py":
            assert place(folder, module_name(path)), f"{path}: no place in ORDER"


@pytest.mark.parametrize("folder", ORDER)
def test_every_name_of_the_order_has_files(folder):
    modules = [module_name(path) for path in (ROOT / folder).rglob("*.py")]
    found = {place(folder, module) for module in modules} - {None}
    names = {name for names in ORDER[folder] for name in beside(names)}
    assert {name for _, name in found} == names


@pytest.mark.parametrize(
    ("folder", "module", "imported"),
    [
        ("tfsegloss", "tfsegloss.core.targets", "tfsegloss.losses.rmi"),
        ("tfsegloss", "tfsegloss.metrics.confusion", "tfsegloss.explain"),
        ("models", "models.layers.blocks", "models.builder"),
        ("train", "train.data.decoding.images", "train.data.input.augmentation"),
        ("train", "train.runs.load", "train.commands.fit"),
        ("train", "train.config", "train.data.input.pipeline"),
        ("savedmodels", "savedmodels.archive", "savedmodels.export"),
    ],
)
def test_an_arrow_backwards_is_seen(folder, module, imported):
    assert backward_arrow(folder, module, imported)
    assert place(folder, module)[0] == place(folder, imported)[0] or not backward_arrow(
        folder, imported, module
    )


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_the_folder_has_files(folder):
    assert list((ROOT / folder).rglob("*.py"))


def test_models_and_train_ask_for_keras_3_alike():
    """Of `models`, which imports TensorFlow, `train` cannot take it: both have the same code."""
    ours, theirs = (
        ast.parse((ROOT / path).read_text()).body[1:]  # without the docstring
        for path in ("models/keras_3.py", "train/common/keras_3.py")
    )
    assert [ast.dump(node) for node in ours] == [ast.dump(node) for node in theirs]


def test_the_listing_of_contributing_is_complete():
    """Each line is a folder, what it is, and after a colon its modules."""
    listed, top = set(), ""
    for line in filter(None, (ROOT / "CONTRIBUTING.md").read_text().split("```")[1].splitlines()):
        folder, text = line.split(maxsplit=1)
        top = top if line.startswith(" ") else folder
        folder = ROOT / top / folder if line.startswith(" ") else ROOT / top
        _, colon, names = text.rpartition(": ")
        listed |= {folder / f"{name}.py" for name in names.split(", ") if colon}
    modules = {
        path
        for folder in MAY_IMPORT
        for path in (ROOT / folder).rglob("*.py")
        if not path.name.startswith("__")
    }
    assert listed == modules
