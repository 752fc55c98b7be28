"""What the gateway answers when it cannot in a rank's words: our errors, and one table to OpenAI's shape. Pure.

Types and wording follow vLLM's own, so that a client sees no difference between a rank and the gateway.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import msgspec

QUOTED = 100
"""How many characters of a model's name an error shows."""


class GatewayError(Exception):
    """Base of what a client is told. `param` names the field at fault; `retry_after_ms` when to come back."""

    def __init__(self, message: str, *, param: str | None = None, retry_after_ms: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_ms = retry_after_ms


class InvalidRequestError(GatewayError):
    """The request is no HTTP, or its body or a header has not the shape it must have."""


class UnparsableBodyError(GatewayError):
    """The body is in no encoding of JSON, or more than a parser bears."""


class AmbiguousModelError(GatewayError):
    """No model is named and there is more than one."""


class UnauthorizedError(GatewayError):
    """The key is missing or wrong."""


class ForeignPageError(GatewayError):
    """A web page asks that may not."""


class UnknownModelError(GatewayError):
    """No pool serves the model."""


class UnknownResponseError(GatewayError):
    """No rank has the response any more, or ever had."""


class StoreLostError(GatewayError):
    """What only the store knows cannot be looked up now."""


class UnknownRouteError(GatewayError):
    """Nothing is served at the path."""


class MethodNotAllowedError(GatewayError):
    """The path is served, but not with this method."""


class NotServedError(GatewayError):
    """vLLM serves the path, and the server on which the gateway runs cannot."""


class NoWebSocketError(GatewayError):
    """What is served at the path is a WebSocket, and the request offers none."""


class RequestTooSlowError(GatewayError):
    """The client stopped sending its request without closing."""


class BodyTooLargeError(GatewayError):
    """The body is larger than the gateway takes."""


class HeadTooLargeError(GatewayError):
    """The request line and headers are more than the gateway takes."""


class KeysNotReadError(GatewayError):
    """The keys that clients may bring have not been read since this gateway started."""


class ForbiddenModelError(GatewayError):
    """The key may not use the model."""


class KeyLimitError(GatewayError):
    """The key has used what it may; the request may come again."""


class BeyondKeyLimitError(GatewayError):
    """The request alone is more than the key may ever use at once."""


class PoolFullError(GatewayError):
    """Every rank is full; the request may come again."""


class NoRankError(GatewayError):
    """There is no rank that can take the request now."""


class ShuttingDownError(GatewayError):
    """This gateway stops and the request was not finished within the drain time."""


class TooManyConnectionsError(GatewayError):
    """All connections to ranks are in use."""


class RankUnreachableError(GatewayError):
    """The rank placed on does not take a connection."""


class RankFailedError(GatewayError):
    """The rank broke off before its answer was complete, or answered what HTTP does not allow."""


class RankErrorAnswerError(GatewayError):
    """The rank answered with an error of its own that another might not give: this is what it said."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        super().__init__(f"The rank answered with status {status}")
        self.status = status
        self.headers = headers
        self.body = body


class RankTimeoutError(GatewayError):
    """The rank was silent for longer than it may be."""


class RankNotReachedError(GatewayError):
    """The decode rank did not take the request for as long as the KV it was to fetch is surely held."""


class RecomputedError(GatewayError):
    """The decode rank ran out of KV cache and gave the request up."""


class DeadlineExceededError(GatewayError):
    """The time the client gave the request is over."""


class InternalError(GatewayError):
    """A fault of the gateway itself."""


class ErrorKind(NamedTuple):
    """The status and the `type` of an error's body."""

    status: int
    type: str


KINDS: Mapping[type[GatewayError], ErrorKind] = MappingProxyType(
    {
        InvalidRequestError: ErrorKind(400, "Bad Request"),
        UnparsableBodyError: ErrorKind(400, "Bad Request"),
        AmbiguousModelError: ErrorKind(400, "BadRequestError"),
        UnauthorizedError: ErrorKind(401, "AuthenticationError"),
        ForeignPageError: ErrorKind(403, "Forbidden"),
        ForbiddenModelError: ErrorKind(403, "PermissionDeniedError"),
        UnknownModelError: ErrorKind(404, "NotFoundError"),
        UnknownResponseError: ErrorKind(404, "invalid_request_error"),
        UnknownRouteError: ErrorKind(404, "NotFoundError"),
        MethodNotAllowedError: ErrorKind(405, "Method Not Allowed"),
        RequestTooSlowError: ErrorKind(408, "Request Timeout"),
        BodyTooLargeError: ErrorKind(413, "Content Too Large"),
        PoolFullError: ErrorKind(429, "RateLimitError"),
        KeyLimitError: ErrorKind(429, "RateLimitError"),
        BeyondKeyLimitError: ErrorKind(429, "RateLimitError"),
        NoWebSocketError: ErrorKind(426, "Upgrade Required"),
        HeadTooLargeError: ErrorKind(431, "Request Header Fields Too Large"),
        InternalError: ErrorKind(500, "InternalServerError"),
        NotServedError: ErrorKind(501, "Not Implemented"),
        RankUnreachableError: ErrorKind(502, "Bad Gateway"),
        RankFailedError: ErrorKind(502, "Bad Gateway"),
        RankErrorAnswerError: ErrorKind(502, "Bad Gateway"),
        RecomputedError: ErrorKind(502, "Bad Gateway"),
        NoRankError: ErrorKind(503, "Service Unavailable"),
        KeysNotReadError: ErrorKind(503, "Service Unavailable"),
        StoreLostError: ErrorKind(503, "Service Unavailable"),
        ShuttingDownError: ErrorKind(503, "Service Unavailable"),
        TooManyConnectionsError: ErrorKind(503, "Service Unavailable"),
        RankTimeoutError: ErrorKind(504, "Gateway Timeout"),
        RankNotReachedError: ErrorKind(504, "Gateway Timeout"),
        DeadlineExceededError: ErrorKind(504, "Gateway Timeout"),
    }
)


def quoted(value: str) -> str:
    """A value as an error shows it: whole if it is short, else its beginning."""
    return value if len(value) <= QUOTED else value[:QUOTED] + "…"


def status_of(error: GatewayError) -> int:
    """The HTTP status of an error."""
    return KINDS[type(error)].status


def body_of(error: GatewayError) -> bytes:
    """The error as OpenAI and vLLM write it: `{"error": {"message", "type", "param", "code"}}`."""
    if isinstance(error, UnparsableBodyError):
        return msgspec.json.encode({"detail": error.message})  # the one that vLLM leaves to its HTTP framework
    status, kind = KINDS[type(error)]
    return msgspec.json.encode(
        {"error": {"message": error.message, "type": kind, "param": error.param, "code": status}}
    )


def headers_of(error: GatewayError) -> list[tuple[bytes, bytes]]:
    """The response headers that go with an error, the body's length apart."""
    headers = [(b"content-type", b"application/json")]
    if isinstance(error, UnauthorizedError):
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, NoWebSocketError):
        headers += [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
    if isinstance(error, BeyondKeyLimitError):
        # OpenAI's and Anthropic's clients would try a 429 again; this is how they are told not to.
        headers.append((b"x-should-retry", b"false"))
    if isinstance(error, RequestTooSlowError):
        # Nobody knows when the rest of the request will be over (RFC 9110 section 15.5.9).
        headers.append((b"connection", b"close"))
    if error.retry_after_ms is not None:
        headers.append((b"retry-after", b"%d" % max(1, -(-error.retry_after_ms // 1000))))
    return headers
