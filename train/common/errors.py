"""What the user can mend: one line, exit status 2."""

from collections.abc import Sequence

# Of numbers that are not finite.
REMEDY = "lower optimizer.learning_rate, or look for labels out of range"


class UserError(Exception):
    """Says in one line what was expected, what came, and which file or key is meant."""


class SeveralFaultsError(UserError):
    """Says the first of several faults, and that `train check` lists all.

    Args:
        faults: One line each, at least one.
        remedy: What to do about them.
    """

    def __init__(self, faults: Sequence[str], remedy: str = ""):
        more = f" (and {len(faults) - 1} more: `train check` lists all)" if faults[1:] else ""
        super().__init__(f"{faults[0]}{more}{remedy}")
        self.faults = list(faults)


class LostWorkerError(UserError):
    """Says that another worker of the cluster is gone."""


class NotFiniteError(UserError):
    """Says that a number of the training is NaN or infinite.

    Args:
        what: Which.
        step: The step that it was found after.
    """

    def __init__(self, what: str, step: int):
        super().__init__(f"{what} is not finite at step {step}: expected a finite number; {REMEDY}")
        self.what, self.step = what, step
