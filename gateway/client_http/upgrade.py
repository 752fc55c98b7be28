"""Requests that offer to change the protocol (`Upgrade: h2c`, `Upgrade: websocket`, CONNECT).

A server that does not change it ignores the offer and reads the request as any other (RFC 9110 sections 7.8 and 9.3.6).
httptools cannot be told so: it ends such a request after its head. What follows is read by a parser that has been
given a head with the same body. Whether an offer of WebSocket is taken is told by the answer, so nothing is read on
before that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httptools

from gateway import websocket
from gateway.client_http.switched import OFFER_KEY, Offer

if TYPE_CHECKING:
    from gateway.client_http.protocol import ClientProtocol


def feed(protocol: ClientProtocol, piece: bytes) -> bytes:
    """Have a protocol's parser parse a piece; return the rest of it if the parser stopped after an upgrade's head.

    Raises httptools.HttpParserError.
    """
    try:
        protocol.parser.feed_data(piece)
    except httptools.HttpParserUpgrade as stop:
        (parsed,) = stop.args
        _start_in_body(protocol)
        scope, headers = protocol.scope, protocol.headers
        if websocket.is_offer(scope["method"], scope["http_version"], headers):
            protocol.offering = protocol.cycle
            scope[OFFER_KEY] = Offer(protocol, protocol.cycle)  # type: ignore[literal-required]
        return piece[parsed:]
    return b""


def _start_in_body(protocol: ClientProtocol) -> None:
    callbacks = _PastHead(protocol)
    protocol.parser = httptools.HttpRequestParser(callbacks)
    protocol.parser.set_dangerous_leniencies(lenient_data_after_close=True)
    framing = b"".join(b"%b: %b\r\n" % header for header in protocol.headers if header[0] in websocket.FRAMING)
    protocol.parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")
    callbacks.past = True


class _PastHead:
    """A protocol's callbacks, silent until the first head is past; that head's message may end before."""

    def __init__(self, protocol: ClientProtocol) -> None:
        self._protocol = protocol
        self.past = False
        self.on_body = protocol.on_body
        self.on_message_complete = protocol.on_message_complete

    def on_message_begin(self) -> None:
        self._tell(self._protocol.on_message_begin)

    def on_url(self, url: bytes) -> None:
        self._tell(self._protocol.on_url, url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._tell(self._protocol.on_header, name, value)

    def on_headers_complete(self) -> None:
        self._tell(self._protocol.on_headers_complete)

    def _tell(self, callback: Any, *arguments: bytes) -> None:
        if self.past:
            callback(*arguments)
