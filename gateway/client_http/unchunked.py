"""An answer to a client of HTTP/1.0, which knows no chunks: without a length, it ends where the connection does."""

from __future__ import annotations

import sys
from typing import Any

from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class Unchunked:
    """ASGI middleware for one request, between the application and uvicorn's cycle."""

    def __init__(self, app: Any, cycle: RequestResponseCycle) -> None:
        self._app = app
        self._cycle = cycle
        self._ends_by_closing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request."""

        async def send_unchunked(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._ends_by_closing = all(name != b"content-length" for name, _ in message["headers"])
                if self._ends_by_closing:
                    # uvicorn frames an answer by chunks or by a length; it lets this one be of any length.
                    self._cycle.chunked_encoding = False
                    self._cycle.expected_content_length = sys.maxsize
            elif self._ends_by_closing and not message.get("more_body", False):
                self._cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await self._app(scope, receive, send_unchunked)
