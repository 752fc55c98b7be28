"""What a request may do with its client's connection beside ASGI, which has a task and some layers for all of it.

The head of an answer still goes through the application, and so does its end: uvicorn's cycle keeps the books of both.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import cast

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from gateway.client_http.flow import Flow, Source
from gateway.client_http.switched import OFFER_KEY, Offer

SCOPE_KEY = "forebay.client"
"""Where a request's scope holds its `Client`; a scope of another server holds none."""


class Client:
    """The client of one request. Of an answer's body nothing may be sent by the application while `write` is used."""

    def __init__(self, cycle: RequestResponseCycle, transport: asyncio.Transport, flow: Flow) -> None:
        # The cycle's scope holds this: two that hold each other would lie about until the collector comes.
        self._cycle = weakref.proxy(cycle)
        self._flow = flow
        self._on_gone: Callable[[], None] | None = None
        self.write = transport.write
        """Sends whole chunks, framing included (RFC 9112 section 7.1); never the last one."""

    @property
    def takes_chunks(self) -> bool:
        """Whether the answer is one in chunks, and its body is due: else `write` is not for it."""
        cycle = self._cycle
        return cycle.response_started and not cycle.response_complete and cycle.chunked_encoding is True

    @property
    def reads(self) -> bool:
        """Whether it has read nearly all that it was sent: what is sent now does not wait."""
        return not self._flow.write_paused

    @property
    def has_sent_all(self) -> bool:
        """Whether all of its request is here."""
        return not self._cycle.more_body

    @property
    def offer(self) -> Offer | None:
        """Its offer to speak WebSocket from its request on, if that is one."""
        return cast("Offer | None", self._cycle.scope.get(OFFER_KEY))

    def follow(self, source: Source | None) -> None:
        """Let the source wait while the client does not read what lies ready for it; None lets nobody wait."""
        self._flow.follow(source)

    def on_gone(self, tell: Callable[[], None] | None) -> None:
        """Have it told, once, when the client is gone, or at once if it is; None tells nobody. It must not fail."""
        self._on_gone = tell
        if tell is not None and self._cycle.disconnected:
            tell()

    def is_gone(self) -> None:
        """The connection is over before the answer is."""
        if self._on_gone is not None:
            self._on_gone()
