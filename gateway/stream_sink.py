"""Carries a stream's bytes to its client as they are received, in the callback that receives them. Pure.

What passes as it came is written with the chunk framing it came in; what was looked into is framed anew.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.event_stream import EventStream
from gateway.rank_http.chunks import payload_of

EVENT_AND_CHUNK_END = b"\n\n\r\n"
LINE_END = b"\r\n"
ONE_CHUNK_LINES = 2
"""One chunk of events without such line ends of their own has no more of them."""


class StreamSink:
    """What a rank's stream is poured into; `write` takes whole chunks for the client, framing included."""

    def __init__(self, stream: EventStream, write: Callable[[bytes], None]) -> None:
        self._stream = stream
        self._write = write

    def take_chunks(self, chunks: bytes) -> None:
        """Whole chunks as they came. Raises RankFailedError, RecomputedError: the stream may not go on."""
        if not chunks.endswith(EVENT_AND_CHUNK_END):
            self.take(payload_of(chunks))
            return
        # Between two chunks framing may stand inside of the very words that are looked for.
        is_one = chunks.count(LINE_END) == ONE_CHUNK_LINES
        events = chunks if is_one else payload_of(chunks)
        if self._stream.passes(events):
            self._write(chunks)
            if self._stream.taps:
                self._stream.show(events, in_chunks=is_one)
        else:
            self.take(payload_of(chunks))

    def take(self, payload: bytes) -> None:
        """Any other bytes of the body. Raises as `take_chunks` does."""
        if events := self._stream.feed(payload):
            self._write(b"%x\r\n%b\r\n" % (len(events), events))
        self._stream.raise_error()
