"""What is read beside the relay of a stream: here the usage that it reports."""

from __future__ import annotations

import re
from collections.abc import Callable

from gateway import usage
from gateway.usage import Usage

USAGE = re.compile(rb'"usage": ?\{')


class UsageTap:
    """Keeps the last events that report the request's usage, for `read` to find it in them."""

    wants_every_event = False

    def __init__(self, read: Callable[[bytes], Usage | None] = usage.of_body) -> None:
        self._read = read
        self._reported = b""

    def see(self, events: bytes, *, in_chunks: bool) -> None:
        """Whole events of the stream: a line of one is a line, whatever stands between two events."""
        if b'"usage"' in events and USAGE.search(events):
            self._reported = events

    @property
    def usage(self) -> Usage | None:
        """What was reported last; None if nothing was that makes sense."""
        return usage.of_events(self._reported, self._read)
