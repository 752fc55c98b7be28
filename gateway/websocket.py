"""What a gateway reads of a WebSocket's handshake (RFC 6455 section 4), and the little it writes. Pure.

The handshake is the client's and the rank's: version, key, extensions and subprotocols pass as they are, and what
follows is not looked into. Only the offer itself belongs to each connection (RFC 9110 section 7.8) and is made anew.

A web page cannot set headers, so OpenAI's clients in browsers bring their key as a subprotocol, beside `realtime`.
Engines choose no subprotocol, and a browser that offered some gives up then; so `realtime` is chosen for them.
"""

from __future__ import annotations

from gateway.headers import BLANKS, Headers, first

OFFER: Headers = [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
"""Asks for the change, and says that it is made."""

FRAMING = frozenset({b"content-length", b"transfer-encoding"})

SUBPROTOCOLS = b"sec-websocket-protocol"
REALTIME = b"realtime"
KEY_PREFIX = b"openai-insecure-api-key."


def is_asked_for(headers: Headers) -> bool:
    """Whether the headers, names in lower case, ask to change the protocol to WebSocket, or say that it is changed."""
    asked = (token.lower() for token in _tokens(headers, b"upgrade"))
    return b"upgrade" in map(bytes.lower, _tokens(headers, b"connection")) and b"websocket" in asked


def has_body(headers: Headers) -> bool:
    """Whether a request or an answer with these headers, names in lower case, has a body."""
    return any(name in FRAMING and (name, value) != (b"content-length", b"0") for name, value in headers)


def is_offer(method: str, http_version: str, headers: Headers) -> bool:
    """Whether a request may change its connection to WebSocket; an offer in HTTP/1.0 is none."""
    return method == "GET" and http_version == "1.1" and is_asked_for(headers) and not has_body(headers)


def authorization_of(headers: Headers) -> bytes | None:
    """The key among the subprotocols, as an Authorization header's value."""
    keys = (token.removeprefix(KEY_PREFIX) for token in _tokens(headers, SUBPROTOCOLS) if token.startswith(KEY_PREFIX))
    return next((b"Bearer " + key for key in keys), None)


def for_rank(headers: Headers, *, hold_key: bool) -> Headers:
    """The headers of a request with the offer made anew, and without the key if it is to be held back."""
    others = [(name, value) for name, value in headers if name != SUBPROTOCOLS]
    passed = [one for one in _tokens(headers, SUBPROTOCOLS) if not (hold_key and one.startswith(KEY_PREFIX))]
    return [*others, *([(SUBPROTOCOLS, b", ".join(passed))] if passed else []), *OFFER]


def for_client(headers: Headers, asked: Headers) -> Headers:
    """The headers of the answer to a request, names in lower case, with the change said anew."""
    chosen = []
    brings_key = authorization_of(asked) is not None
    if brings_key and REALTIME in _tokens(asked, SUBPROTOCOLS) and first(headers, SUBPROTOCOLS) is None:
        chosen = [(SUBPROTOCOLS, REALTIME)]
    return [*headers, *chosen, *OFFER]


def lets_in(origins: tuple[str, ...], headers: Headers) -> bool:
    """Whether the page that asks may: browsers ask for WebSockets of any page's, and leave it to the server.

    A page of the gateway's own host may, and a client that is no page.
    """
    origin = first(headers, b"origin")
    if origin is None or "*" in origins:
        return True
    said = origin.decode("latin-1").lower()
    host = (first(headers, b"host") or b"").decode("latin-1").lower()
    return said in origins or (host != "" and said.partition("://")[2] == host)


def _tokens(headers: Headers, name: bytes) -> list[bytes]:
    """The elements of a list that may stand in several lines."""
    values = (value.split(b",") for key, value in headers if key == name)
    return [token for parts in values for part in parts if (token := part.strip(BLANKS))]
