"""Processes that share the runs of a simulation."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager

from forebay.parent import die_with


@contextmanager
def workers(processes: int) -> Iterator[Executor | None]:
    """So many processes, which end with this one; None where one is enough, and that is this one."""
    if processes == 1:
        yield None
        return
    # Spawned, for a fork would take over what this process has open.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=die_with, initargs=(os.getpid(),)) as executor:
        yield executor
