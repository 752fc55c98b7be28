"""How far a batch is, on standard error: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_EVERY_S = 10.0

Advance = Callable[[bool], None]
"""Called when a request is done, with whether it has failed."""


@contextmanager
def progress(console: Console, total: int, done: int) -> Iterator[Advance]:
    """For so many requests, of which some were done before."""
    with (_bar if console.is_terminal else _lines)(console, total, done) as advance:
        yield advance


@contextmanager
def _bar(console: Console, total: int, done: int) -> Iterator[Advance]:
    shown = Progress(
        *(TextColumn("answered"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[failed]}")),
        *(TimeElapsedColumn(), TextColumn("left:"), TimeRemainingColumn()),
        console=console,
        transient=True,
        # Standard output may be the batch's own, and the bar is not for it.
        redirect_stdout=False,
        redirect_stderr=False,
    )
    bar = shown.add_task("", total=total, completed=done, failed="")
    failures = 0

    def advance(failed: bool) -> None:
        nonlocal failures
        failures += failed
        shown.update(bar, advance=1, failed=f"{failures} failed" if failures else "")

    with shown:
        yield advance


@contextmanager
def _lines(console: Console, total: int, done: int) -> Iterator[Advance]:
    begun_s = said_s = time.monotonic()
    count, failures = done, 0

    def advance(failed: bool) -> None:
        nonlocal count, failures, said_s
        count += 1
        failures += failed
        if (now_s := time.monotonic()) - said_s >= LINE_EVERY_S:
            said_s = now_s
            rate = (count - done) / (now_s - begun_s)
            console.print(
                f"{count} of {total} done, {failures} failed, {rate:.1f} a second",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )

    yield advance
