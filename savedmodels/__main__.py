"""`python -m savedmodels COMMAND`."""

from train.common.cli import main

# A module each in `savedmodels`.
COMMANDS = ("export", "evaluate", "predict")

if __name__ == "__main__":
    main(
        "savedmodels",
        "Export a run as a SavedModel, score it, use it.",
        [f"savedmodels.{name}" for name in COMMANDS],
    )
