"""How many connections each worker of a gateway has, in memory that all of them share."""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
from typing import Final

COUNT_BYTES = 4
ABSENT: Final = 0xFFFF_FFFF
"""The count of a worker that takes no connections."""


def create_shared_memory(workers: int) -> int:
    """A descriptor of memory for the counts of so many workers, none of which takes connections yet."""
    if sys.platform == "linux":
        fd = os.memfd_create("connection-counts")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.write(fd, ABSENT.to_bytes(COUNT_BYTES, sys.byteorder) * workers)
    return fd


class ConnectionCounts:
    """The counts behind such a descriptor. A worker writes its own; the supervisor those of workers that have ended."""

    def __init__(self, fd: int, workers: int) -> None:
        self._counts = memoryview(mmap.mmap(fd, workers * COUNT_BYTES)).cast("I")

    def tell(self, worker: int, connections: int) -> None:
        """This worker has so many connections."""
        self._counts[worker] = connections

    def leave(self, worker: int) -> None:
        """This worker takes no connections any more."""
        self._counts[worker] = ABSENT

    def is_turn_of(self, worker: int) -> bool:
        """Whether no other worker has fewer connections."""
        return self._counts[worker] <= min(self._counts)
