"""Carries a stream's bytes to its client as they are received, in the callback that receives them. Pure.

What passes as it came is written with the chunk framing it came in; what was looked into is framed anew. What is like
an event that has passed is not looked into again.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.event_stream import EventStream
from gateway.likeness import Likeness
from gateway.rank_http.chunks import payload_of

EVENT_AND_CHUNK_END = b"\n\n\r\n"
LINE_END = b"\r\n"
ONE_CHUNK_LINES = 2
"""One chunk of events without such line ends of their own has no more of them."""

MAX_LIKENESSES = 16
"""A stream that is never like what it was before is not worth the trouble."""


class StreamSink:
    """What a rank's stream is poured into; `write` takes whole chunks for the client, framing included."""

    __slots__ = ("_likeness", "_likenesses_left", "_stream", "_taps", "_write")

    def __init__(self, stream: EventStream, write: Callable[[bytes], None]) -> None:
        self._stream = stream
        self._write = write
        self._likeness: Likeness | None = None
        self._likenesses_left = MAX_LIKENESSES
        self._taps = stream.taps

    def take_alike(self, chunk: bytes) -> bool:
        """See `Sink`: the path of nearly all chunks."""
        if self._likeness is None or not self._likeness.fits(chunk):
            return False
        self._write(chunk)
        for tap in self._taps:
            tap.see(chunk, in_chunks=True)
        return True

    def take_chunks(self, chunks: bytes) -> None:
        """Whole chunks as they came. Raises RankFailedError, RecomputedError: the stream may not go on."""
        if not chunks.endswith(EVENT_AND_CHUNK_END):
            self.take(payload_of(chunks))
            return
        # Between two chunks framing may stand inside of the very words that are looked for.
        is_one = chunks.count(LINE_END) == ONE_CHUNK_LINES
        events = chunks if is_one else payload_of(chunks)
        if not self._stream.passes(events):
            self.take(payload_of(chunks))
            return
        self._write(chunks)
        if self._taps:
            self._stream.show(events, in_chunks=is_one)
        if is_one and self._likenesses_left:
            self._learn(chunks)

    def take(self, payload: bytes) -> None:
        """Any other bytes of the body. Raises as `take_chunks` does."""
        # What comes next may belong to an event that has begun.
        self._likeness = None
        if events := self._stream.feed(payload):
            self._write(b"%x\r\n%b\r\n" % (len(events), events))
        self._stream.raise_error()

    def _learn(self, chunk: bytes) -> None:
        likeness = Likeness.of(chunk)
        if likeness is not None:
            self._likeness = likeness
            self._likenesses_left -= 1
