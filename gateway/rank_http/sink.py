"""Where an answer's body goes. Pure."""

from __future__ import annotations

from typing import Protocol


class Sink(Protocol):
    """Takes a body as it comes, in the connection's own callback: it must not wait, and what it raises ends the
    answer.
    """

    def take_alike(self, chunk: bytes) -> bool:
        """Take these bytes, without another look, if they are one whole regular chunk like others before; else take
        nothing and return False.
        """

    def take_chunks(self, chunks: bytes) -> None:
        """One or more whole regular chunks as they came, framing included (`d7\\r\\n...\\r\\n`), without extensions and
        without the last chunk: they may be written as they are to a client that takes chunks.
        """

    def take(self, payload: bytes) -> None:
        """Payload in any other case: a part of a chunk, a chunk with extensions, another framing."""
