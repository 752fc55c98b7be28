"""Processes that a test started, and whatever these started, by a variable in their environment."""

from __future__ import annotations

import os
import signal
import uuid
from contextlib import suppress
from pathlib import Path

MARK = "LAUNCH_TEST_MARK"


def new_mark() -> str:
    return uuid.uuid4().hex


def marked(mark: str) -> dict[int, str]:
    """The command lines of all live processes with this mark, by process id."""
    wanted = f"{MARK}={mark}".encode()
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def end_marked(mark: str) -> None:
    """Kill them all, so that none outlives a test, whatever should have ended it."""
    while left := marked(mark):
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
