"""What the kernel knows of processes and their children (Linux; proc(5), prctl(2)).

Only the standard library is imported here: keepers run without any other.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, sessions of their own included.

    So nothing that was started below this process gets out of its sight. Raises OSError where the kernel refuses.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent(how: signal.Signals) -> None:
    """Have this process sent a signal when its parent ends; it stays asked for through execve."""
    _prctl(_PR_SET_PDEATHSIG, how)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def descendants(pid: int, besides: Iterable[int] = ()) -> list[int]:
    """All processes below `pid`, without those of `besides` and what is below them."""
    children = _children()
    left_out = set(besides)
    found, new = [], [pid]
    while new:
        new = [child for parent in new for child in children.get(parent, ()) if child not in left_out]
        found += new
    return found


def tell(pids: Iterable[int], received: signal.Signals) -> None:
    """Send a signal to processes, of which some may have ended."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, received)


def reap(pids: Iterable[int]) -> None:
    """Take in those of our children among them that have ended."""
    for pid in pids:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _children() -> dict[int, list[int]]:
    children: defaultdict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            # What has ended meanwhile is no child any more.
            with suppress(OSError):
                stat = (entry / "stat").read_bytes()
                # pid (name) state ppid ...; the name may hold anything, parentheses too.
                children[int(stat.rpartition(b")")[2].split()[1])].append(int(entry.name))
    return children
