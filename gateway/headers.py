"""Which headers pass: everything, except what is listed here. Pure.

To a rank pass the client's own headers (traceparent, X-Session-ID, X-Vllm-Priority and the like). Held back are

- what belongs to one connection (RFC 9110 section 7.6.1) and whatever `Connection` names;
- what the gateway writes itself: Host, lengths, X-Request-Id (a new one per attempt), X-data-parallel-rank
  (it steers a rank; only the placement may) and Accept-Encoding (usage is read from plain bytes);
- what is meant for the gateway: x-forebay-*, x-request-timeout-ms, cookies, and Authorization where the
  gateway has keys of its own or one for the ranks (where it has none, the client's may be the rank's);
- `Expect` and HTTP2-Settings, which ask something of the next hop only.

To a client pass the rank's, without what belongs to the connection and what the gateway writes itself: lengths, Date,
Server, X-Request-Id, x-forebay-* and Access-Control-* (vLLM lets web pages of any origin in by default).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from gateway.errors import InvalidRequestError

Headers = list[tuple[bytes, bytes]]

CONNECTION_HEADERS = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
        b"trailer", b"transfer-encoding", b"upgrade",
    }
)  # fmt: skip

KEY_HEADERS = (b"authorization", b"x-api-key")
"""Where a client's key may stand: OpenAI's clients write `Authorization: Bearer KEY`, Anthropic's `x-api-key: KEY`."""

HELD_FROM_RANKS = CONNECTION_HEADERS | {
    b"accept-encoding", b"content-length", b"cookie", b"expect", b"host", b"http2-settings", b"x-data-parallel-rank",
    b"x-request-id", b"x-request-timeout-ms",
}  # fmt: skip
OWN_PREFIX = b"x-forebay-"
HELD_PREFIXES_FROM_CLIENTS = (OWN_PREFIX, b"access-control-")

BLANKS = b" \t"
"""They may stand around a value and are no part of it (RFC 9110 section 5.5); the parser leaves those at its end."""

HELD_FROM_CLIENTS = CONNECTION_HEADERS | {b"content-length", b"date", b"server", b"x-request-id"}

REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
MAX_TIMEOUT_MS = 86_400_000

MAX_HEAD_BYTES = 65_536
"""Start line and headers. Long keys, cookies and trace states take a few KiB; other servers allow 8 to 64."""

MAX_HEADERS = 100
"""What Apache allows and no client comes near to; each costs a few objects before the key is checked."""

HEAD_TOO_LARGE = f"The request's head is larger than {MAX_HEAD_BYTES} bytes or has more than {MAX_HEADERS} headers"


def first(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """The first value of a header, or None; `name` and the headers' names in lower case."""
    for key, value in headers:
        if key == name:
            return value
    return None


def for_rank(
    headers: Sequence[tuple[bytes, bytes]],
    *,
    attempt_id: str,
    local_index: int | None,
    hold_authorization: bool,
    rank_key: str = "",
) -> Headers:
    """The headers of one attempt: the client's that may pass, and ours.

    `hold_authorization` holds the client's key back, and so does a `rank_key`, which takes its place;
    `local_index` is the engine behind a shared port.
    """
    held = _named_by_connection(headers)
    passed = [
        (name, value.strip(BLANKS))
        for name, value in headers
        if name not in HELD_FROM_RANKS
        and name not in held
        and not name.startswith(OWN_PREFIX)
        and not ((hold_authorization or rank_key) and name in KEY_HEADERS)
    ]
    passed.append((b"x-request-id", attempt_id.encode()))
    if rank_key:
        passed.append((b"authorization", b"Bearer " + rank_key.encode()))
    if local_index is not None:
        passed.append((b"x-data-parallel-rank", b"%d" % local_index))
    return passed


def authorization_of(headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """What a client brings to be let in, as an Authorization header's value."""
    authorization, key = (first(headers, name) for name in KEY_HEADERS)
    return b"Bearer " + key if authorization is None and key is not None else authorization


def for_client(headers: Sequence[tuple[bytes, bytes]]) -> Headers:
    """The headers of a rank's answer that may pass, names in lower case."""
    lower = [(name.lower(), value) for name, value in headers]
    held = _named_by_connection(lower)
    return [
        (name, value)
        for name, value in lower
        if name not in HELD_FROM_CLIENTS and name not in held and not name.startswith(HELD_PREFIXES_FROM_CLIENTS)
    ]


def _named_by_connection(headers: Iterable[tuple[bytes, bytes]]) -> set[bytes]:
    return {token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")}


def client_request_id(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The client's X-Request-Id, if it is one: up to 128 printable ASCII characters without spaces."""
    value = first(headers, b"x-request-id")
    return value.decode() if value is not None and REQUEST_ID.fullmatch(value) else None


def timeout_s(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    """Seconds from `x-request-timeout-ms`, the time a client gives its whole request; None without the header.

    Raises InvalidRequestError unless it is a whole number of milliseconds from 1 to a day.
    """
    value = first(headers, b"x-request-timeout-ms")
    if value is None:
        return None
    if not value.isdigit() or len(value) > 8 or not 1 <= int(value) <= MAX_TIMEOUT_MS:
        raise InvalidRequestError(
            f"x-request-timeout-ms must be a whole number of milliseconds from 1 to {MAX_TIMEOUT_MS}",
            param="x-request-timeout-ms",
        )
    return int(value) / 1000


def require_json(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Raise InvalidRequestError, in vLLM's words, unless the body is declared to be JSON."""
    media_type = (first(headers, b"content-type") or b"").partition(b";")[0].strip().lower()
    if media_type != b"application/json":
        raise InvalidRequestError("1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed")
