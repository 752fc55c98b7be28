"""How many files and connections this process may have open."""

from __future__ import annotations

import resource

OTHER_FILES = 64
"""Those that are open beside a client's connections."""


def allow_open_files(wanted: int) -> int:
    """Raise our own limit as far as the system lets us, to `wanted` if it can; returns what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        return most
    return wanted if soft == resource.RLIM_INFINITY else soft
