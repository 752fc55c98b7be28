"""How many runs of a simulation have ended, on a terminal; nothing is shown elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


@contextmanager
def progress(console: Console, runs: int) -> Iterator[Callable[[], None]]:
    """A bar for so many runs, which is gone at the end; call what it gives when a run has ended."""
    shown = Progress(
        *(TextColumn("runs"), BarColumn(), MofNCompleteColumn()),
        *(TimeElapsedColumn(), TextColumn("left:"), TimeRemainingColumn()),
        console=console,
        transient=True,
        # What is printed meanwhile is for standard output, and not for the bar's console.
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not console.is_terminal,
    )
    bar = shown.add_task("", total=runs)
    with shown:
        yield lambda: shown.advance(bar)
