"""One request to one rank: connect, send, read the answer as it comes, close.

This is the only module that speaks to ranks. A request is tried once: whether to try again is not decided here.
Closing an answer before its end closes the connection, which is how vLLM learns to abort.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any, NamedTuple, cast

import anyio
import anyio.lowlevel
import httpx

from gateway.errors import (
    InvalidRequestError,
    RankFailedError,
    RankTimeoutError,
    RankUnreachableError,
    TooManyConnectionsError,
)
from gateway.headers import MAX_HEAD_BYTES, MAX_HEADERS, Headers, first

KEPT_CONNECTIONS = 0
"""No connection serves two requests: the library would take what a rank sent past the end of one answer for the
beginning of the next, which may be another client's.
"""

FINAL_STATUSES = range(200, 600)
"""uvicorn knows no others."""

CONTROL_BYTES = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""RFC 9110 section 5.5 keeps them out of header values. h11 lets some of them in, uvicorn none of them out."""

TURN_S = 0.002
"""How long one answer may be read without a wait: nothing else does while there are parts left of what was received,
and a rank that sends a byte a chunk leaves ten thousand of them. The loop's own clock stands still meanwhile.
"""

NO_ADDRESS = "The rank registered no usable address"
SENT = "http11.send_request_body.complete"


class Deadlines(NamedTuple):
    """How long a rank may take, in seconds: `first_byte_s` from the call to the body's first byte, then `idle_s`."""

    connect_s: float
    first_byte_s: float
    idle_s: float


class RankAnswer:
    """A rank's answer whose head has arrived. `awaited_since_s`: since when its next bytes are waited for."""

    def __init__(
        self, status: int, headers: Headers, parts: AsyncIterator[bytes], first_byte_s: float, idle_s: float
    ) -> None:
        self.status = status
        self.headers = headers
        self._parts = parts
        self._patience_s = first_byte_s
        self._idle_s = idle_s
        self._turn_began_s = time.monotonic()
        self.awaited_since_s: float | None = None

    @property
    def is_event_stream(self) -> bool:
        """Whether the body is a stream of server-sent events."""
        content_type = first(((name.lower(), value) for name, value in self.headers), b"content-type")
        return (content_type or b"").lower().startswith(b"text/event-stream")

    async def read(self) -> bytes:
        """The next bytes of the body, b"" at its end. Raises RankFailedError, RankTimeoutError."""
        if time.monotonic() - self._turn_began_s > TURN_S:
            await anyio.lowlevel.checkpoint()
            self._turn_began_s = time.monotonic()
        self.awaited_since_s = called_s = time.monotonic()
        with anyio.move_on_after(self._patience_s):
            with _translated():
                part = await anext(self._parts, b"")
            self._patience_s = self._idle_s
            self.awaited_since_s = None
            if (now_s := time.monotonic()) - called_s > TURN_S:
                # It waited, and others had their turn; an ordinary stream always does.
                self._turn_began_s = now_s
            return part
        raise RankTimeoutError(f"The rank sent nothing for {self._patience_s:g} s")


class Upstream:
    """The connections of one gateway to all its ranks, at most `max_connections`; to be closed with `aclose`."""

    def __init__(self, deadlines: Deadlines, max_connections: int) -> None:
        self._deadlines = deadlines
        limits = httpx.Limits(
            max_connections=max_connections,
            max_keepalive_connections=KEPT_CONNECTIONS,
        )
        self._transport = httpx.AsyncHTTPTransport(limits=limits, trust_env=False, retries=0)
        self.open_requests = 0

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    @asynccontextmanager
    async def post(
        self, url: str, headers: Headers, body: bytes, on_sent: Callable[[], None]
    ) -> AsyncGenerator[RankAnswer, None]:
        """Send a request and yield the answer once its head is there; leaving closes it, whatever happened.

        `on_sent` is called when the last byte of the request has been written. Raises RankUnreachableError,
        RankFailedError, RankTimeoutError, TooManyConnectionsError, InvalidRequestError.
        """
        connect_s, first_byte_s, idle_s = self._deadlines

        async def trace(event: str, _: dict[str, Any]) -> None:
            if event == SENT:
                on_sent()

        timeouts = {"connect": connect_s, "pool": connect_s, "read": None, "write": first_byte_s}
        try:
            request = httpx.Request(
                "POST", url, headers=headers, content=body, extensions={"timeout": timeouts, "trace": trace}
            )
        except (httpx.InvalidURL, UnicodeError) as error:
            raise RankUnreachableError(NO_ADDRESS) from error
        self.open_requests += 1
        try:
            started_s = anyio.current_time()
            response = await self._head(request, first_byte_s)
            stream = cast("httpx.AsyncByteStream", response.stream)
            try:
                parts = cast("AsyncGenerator[bytes, None]", aiter(stream))
                async with aclosing(parts):
                    left_s = max(0.0, started_s + first_byte_s - anyio.current_time())
                    yield RankAnswer(response.status_code, response.headers.raw, parts, left_s, idle_s)
            finally:
                with anyio.CancelScope(shield=True):
                    await stream.aclose()
        finally:
            self.open_requests -= 1

    async def _head(self, request: httpx.Request, patience_s: float) -> httpx.Response:
        with anyio.move_on_after(patience_s):
            with _translated():
                response = await self._transport.handle_async_request(request)
            if (fault := _fault_of(response)) is not None:
                await response.aclose()
                raise RankFailedError(fault)
            return response
        raise RankTimeoutError(f"The rank did not answer within {patience_s:g} s")


def _fault_of(response: httpx.Response) -> str | None:
    if response.status_code not in FINAL_STATUSES:
        return f"The rank answered with status {response.status_code}"
    if any(CONTROL_BYTES.search(value) for _, value in response.headers.raw):
        return "The rank answered with a header that HTTP does not allow"
    headers = response.headers.raw
    if len(headers) > MAX_HEADERS or sum(len(name) + len(value) for name, value in headers) > MAX_HEAD_BYTES:
        return f"The rank's head is larger than {MAX_HEAD_BYTES} bytes or has more than {MAX_HEADERS} headers"
    return None


@contextmanager
def _translated() -> Iterator[None]:
    """httpx's errors as ours."""
    try:
        yield
    except httpx.PoolTimeout as error:
        raise TooManyConnectionsError("All connections to ranks are in use", retry_after_ms=1000) from error
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise RankUnreachableError("The rank does not take connections") from error
    except (httpx.UnsupportedProtocol, UnicodeError) as error:
        raise RankUnreachableError(NO_ADDRESS) from error
    except httpx.LocalProtocolError as error:
        raise InvalidRequestError("A header of the request is none that may be sent on") from error
    except httpx.TransportError as error:
        raise RankFailedError("The rank broke off before its answer was complete") from error
