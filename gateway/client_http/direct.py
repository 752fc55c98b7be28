"""The direct way of an answer's body to its client: past the application, straight into the connection's transport.

The head still goes through the application, and so does the body's end: uvicorn's cycle keeps the books of both.
"""

from __future__ import annotations

import asyncio
import weakref

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from gateway.client_http.flow import Flow, Source

SCOPE_KEY = "forebay.direct"
"""Where a request's scope holds its `DirectBody`; a scope of another server holds none."""


class DirectBody:
    """One answer's body, once its head is sent. Nothing of it may be sent by the application meanwhile."""

    def __init__(self, cycle: RequestResponseCycle, transport: asyncio.Transport, flow: Flow) -> None:
        # The cycle's scope holds this: two that hold each other would lie about until the collector comes.
        self._cycle = weakref.proxy(cycle)
        self._flow = flow
        self.write = transport.write
        """Sends whole chunks, framing included (RFC 9112 section 7.1); never the last one."""

    @property
    def is_open(self) -> bool:
        """Whether the answer is one in chunks, and its body is due."""
        cycle = self._cycle
        return cycle.response_started and not cycle.response_complete and cycle.chunked_encoding is True

    def follow(self, source: Source | None) -> None:
        """Let the source wait while the client does not read what lies ready for it; None lets nobody wait."""
        self._flow.follow(source)
