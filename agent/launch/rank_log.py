"""The file that has what a rank prints: made, kept for one life more, and quoted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from agent.errors import LaunchError

_QUOTED_BYTES = 8_192
_QUOTED_LINES = 12
_LONGEST_LINE = 300


def open_log(path: str) -> BinaryIO:
    """A new file for a rank's new life; that of the life before is kept as `<path>.1`. Raises LaunchError."""
    file = Path(path)
    try:
        if file.exists():
            file.replace(f"{path}.1")
        return file.open("wb")
    except OSError as error:
        raise LaunchError(f"log {path}: {error.strerror}") from error


def last_lines(path: str) -> str:
    """The last lines of a log, a bounded quotation, each indented on a line of its own; "" if there are none."""
    try:
        with Path(path).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _QUOTED_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()][-_QUOTED_LINES:]
    return "".join(f"\n  {line[:_LONGEST_LINE]}" for line in lines)
