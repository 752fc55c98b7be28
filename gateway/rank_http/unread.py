"""The part of an answer that has come and has not been read yet. Pure."""

from __future__ import annotations

from gateway.rank_http.chunks import payload_of

MAX_BYTES = 262_144
"""With more of an answer unread, no more is taken from its connection."""


class Unread:
    """A sink that keeps what it gets, `size` bytes."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0

    def take_alike(self, _: bytes) -> bool:
        """As `Sink.take_alike`: nothing is known of these."""
        return False

    def take_chunks(self, chunks: bytes) -> None:
        """As `Sink.take_chunks`."""
        self.take(payload_of(chunks))

    def take(self, payload: bytes) -> None:
        """As `Sink.take`."""
        self._parts.append(payload)
        self.size += len(payload)

    def empty(self) -> bytes:
        """All of it, which is then read."""
        parts, self._parts, self.size = self._parts, [], 0
        return parts[0] if len(parts) == 1 else b"".join(parts)
