"""How many tokens of a stream have passed at the least, for a client that leaves before its usage is told."""

from __future__ import annotations

from gateway.access import RequestRecord

EVENT_END = b"\n\n"


class SeenEvents:
    """A tap: counts a stream's events as a token each. Engines put one or more into an event."""

    def __init__(self, record: RequestRecord) -> None:
        self._record = record

    def see(self, events: bytes, *, in_chunks: bool) -> None:
        """Some are passed on now."""
        self._record.seen_tokens += events.count(EVENT_END)
