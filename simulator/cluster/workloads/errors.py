"""What can be wrong with a workload. Pure."""

from __future__ import annotations


class WorkloadError(ValueError):
    """A workload that cannot be run; the message says why."""


class TraceError(WorkloadError):
    """A trace that cannot be read; the message names the file and, where there is one, the line."""

    def __init__(self, file: str, line: int | None, reason: str) -> None:
        super().__init__(file, line, reason)
        self.file = file
        self.line = line
        self.reason = reason

    def __str__(self) -> str:
        """File, line and reason."""
        return f"{self.file}: {self.reason}" if self.line is None else f"{self.file}, line {self.line}: {self.reason}"
