"""A list of things waited for, shown as a progress bar on a terminal and as a line per thing elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn


class Checklist:
    """A context; the bar is gone when it is left. `total` is how many things there will be."""

    def __init__(self, console: Console, total: int) -> None:
        columns = (SpinnerColumn(), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"))
        self._progress = Progress(*columns, console=console, transient=True)
        self._bar = self._progress.add_task("", total=total)
        self._open: dict[str, str] = {}

    def __enter__(self) -> Self:
        # Elsewhere than on a terminal it would only print an empty line at its end.
        if self._progress.console.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._progress.live.is_started:
            self._progress.stop()

    @property
    def open_items(self) -> list[str]:
        """What is still waited for, with what is missing of it."""
        return [f"{item} {missing}".rstrip() for item, missing in self._open.items()]

    def wait_for(self, item: str, missing: str = "") -> None:
        """One more thing to wait for; or, said again, what is `missing` of it now."""
        self._open[item] = missing
        self._show()

    def tick(self, item: str, line: str) -> None:
        """It came: `line` says so."""
        del self._open[item]
        self._progress.console.print(f"{item}: {line}", markup=False, highlight=False, soft_wrap=True)
        self._progress.advance(self._bar)
        self._show()

    def _show(self) -> None:
        description = f"waiting for {', '.join(self.open_items)}" if self._open else ""
        self._progress.update(self._bar, description=description)
