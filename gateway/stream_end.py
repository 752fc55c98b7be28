"""When a stream has said that it is over, however its bytes are cut. Pure."""

from __future__ import annotations

import re

from gateway.sse import DONE

DONE_LINE = re.compile(rb"[\r\n]data: ?\[DONE\][\r\n]")
"""A line of its own: in JSON no text has a line end."""

TAIL_BYTES = 16
"""At least such a line's length, less one."""


class StreamEnd:
    """Looks for a stream's `data: [DONE]`."""

    def __init__(self) -> None:
        self._tail = b"\n"
        self.is_done = False

    def feed(self, part: bytes) -> None:
        """Look at what has come."""
        if not self.is_done:
            looked_at = self._tail + part
            self.is_done = DONE in looked_at and DONE_LINE.search(looked_at) is not None
            self._tail = looked_at[-TAIL_BYTES:]
