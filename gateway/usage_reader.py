"""Reads what usage an answer reports, of a stream beside its relay. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

from gateway import usage
from gateway.usage import Usage

USAGE = re.compile(rb'"usage": ?\{')


class UsageReader:
    """Is shown one answer, and keeps the last that reports the request's usage, for `read` to find it in it.

    Of a stream it need not see events that its dialect does not tell: no usage is among them.
    """

    def __init__(self, read: Callable[[bytes], Usage | None] = usage.of_body) -> None:
        self._read = read
        self._reported = b""
        self._is_whole = False

    def see(self, events: bytes) -> None:
        """Whole events of a stream."""
        if b'"usage"' in events and USAGE.search(events):
            self._reported = events

    def see_whole(self, body: bytes) -> None:
        """An answer that is not streamed."""
        self._reported = body
        self._is_whole = True

    def see_end(self, end: bytes) -> None:
        """The last bytes of an answer that is not streamed; nearly all of vLLM's end with their usage."""
        begin = end.rfind(b'"usage":')
        if begin >= 0:
            self.see_whole(b"{" + end[begin:])

    @property
    def usage(self) -> Usage | None:
        """What was reported last; None if nothing was that makes sense."""
        return self._read(self._reported) if self._is_whole else usage.of_events(self._reported, self._read)
