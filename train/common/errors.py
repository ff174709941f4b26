"""What the user can mend: one line, exit status 2."""

from collections.abc import Sequence


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
