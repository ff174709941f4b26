"""`python -m train COMMAND`."""

from train.common.cli import main
from train.common.memory import keep_freed_memory

# A module each in `train/commands`.
COMMANDS = (
    "fit",
    "launch",
    "recipes",
    "compare",
    "score",
    "check",
    "import_labels",
    "prepare",
    "weights",
    "explain",
    "sampling",
    "bench_input",
    "bench_step",
)

if __name__ == "__main__":
    keep_freed_memory()
    main(
        "train",
        "Train semantic segmentation models.",
        [f"train.commands.{name}" for name in COMMANDS],
    )
