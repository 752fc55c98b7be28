"""A child that cannot outlive its parent.

The kernel's parent-death signal (prctl(2), PR_SET_PDEATHSIG) is asked for by the child itself. It needs no thread
and no loop that could be stuck, and it stays set through execve, so that redis-server obeys it too. A pipe whose
closing ends the child would do neither. SIGKILL, because nobody is left to wait for a slow end: what the processes
share expires by its leases.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with(parent_pid: int) -> None:
    """End this process, at once, when `parent_pid`, which started it, ends; Linux only, elsewhere nothing happens.

    Raises SystemExit when the parent has ended already, OSError when the kernel refuses.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    # The parent may have ended before the call: then the signal never comes.
    if os.getppid() != parent_pid:
        raise SystemExit(1)
