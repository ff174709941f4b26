"""Progress bars: on a terminal, and gone when the work is done; in files and pipes nothing."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress

from train.common import signals

Item = TypeVar("Item")


def progress_bars() -> Progress:
    """Return progress bars of rich's, to be used as a context manager."""
    console = Console()
    # When the output is no terminal, rich would print an empty line for each bar.
    return Progress(console=console, transient=True, disable=not console.is_terminal)


def track(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """Yield the items, one after the other, with a progress bar.

    Args:
        items: What is worked on.
        what: What the bar says.
        total: How many items there are.
    """
    with progress_bars() as progress:
        for item in progress.track(items, total=total, description=what):
            signals.raise_caught()
            yield item
