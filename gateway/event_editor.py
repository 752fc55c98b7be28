"""Edits a stream of server-sent events as its bytes come. Pure."""

from __future__ import annotations

import re

from gateway.edits import WORTH_A_LOOK, Edits, edited
from gateway.errors import RankFailedError, RecomputedError

EVENT_END = re.compile(rb"\n\n|\r\n\r\n|\r\r")
MAX_EVENT_BYTES = 4_000_000
"""An event holds a few tokens; with all their log probabilities some ten thousand bytes."""

DATA = b"data:"


class EventEditor:
    """Takes the parts of one stream and gives whole events. `error` is set when the stream may not go on."""

    def __init__(self, edits: Edits) -> None:
        self._edits = edits
        self._held = bytearray()
        self.error: RecomputedError | RankFailedError | None = None

    def feed(self, part: bytes) -> bytes:
        """What may be passed on now that `part` has come: whole events, edited."""
        if not self._held and part.endswith(b"\n\n") and not WORTH_A_LOOK.search(part):
            return part
        looked_at = max(0, len(self._held) - 3)
        self._held += part
        end = 0
        for found in EVENT_END.finditer(self._held, looked_at):
            end = found.end()
        whole = bytes(self._held[:end])
        del self._held[:end]
        if len(self._held) > MAX_EVENT_BYTES:
            self.error = RankFailedError(f"The rank sent an event of more than {MAX_EVENT_BYTES} bytes")
        return self._edit(whole)

    def finish(self) -> bytes:
        """What is left when the stream is over."""
        rest = bytes(self._held)
        self._held.clear()
        return self._edit(rest)

    def _edit(self, events: bytes) -> bytes:
        if not WORTH_A_LOOK.search(events):
            return events
        lines: list[bytes] = []
        try:
            for line in events.splitlines(keepends=True):
                lines.append(self._edit_line(line))  # noqa: PERF401  those before the error are passed on
        except RecomputedError as error:
            self.error = error
        return b"".join(lines)

    def _edit_line(self, line: bytes) -> bytes:
        if not line.startswith(DATA) or not WORTH_A_LOOK.search(line):
            return line
        data = line[len(DATA) :].strip()
        start = line.index(data)
        return line[:start] + edited(data, self._edits, streamed=True) + line[start + len(data) :]
