"""A wall clock that can be set, for one process: Debian's libfaketime (package faketime)."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import Final

from tests.servers import BINARY

_PROBE_S: Final = 5.0


def variables(clock: Path) -> dict[str, str]:
    """What a redis-server is started with so that its clock follows the file; nothing where that cannot be done.

    libc comes behind libfaketime so that malloc is libc's: libfaketime's start needs it, and jemalloc's the clock.
    """
    library = _library()
    if not library:
        return {}
    return {
        "LD_PRELOAD": f"{library}:libc.so.6",
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


def is_there() -> bool:
    """Whether redis-server starts with it."""
    return bool(_library())


@cache
def _library() -> str:
    for library in Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"):
        environment = {"LD_PRELOAD": f"{library}:libc.so.6", "DONT_FAKE_MONOTONIC": "1", "FAKETIME": "+0"}
        try:
            command = [BINARY or "redis-server", "--version"]
            subprocess.run(command, env=environment, check=True, timeout=_PROBE_S, capture_output=True)
        except (subprocess.SubprocessError, OSError):
            continue
        return str(library)
    return ""
