"""Reading a request's body off plain ASGI, within the limits of size and patience."""

from __future__ import annotations

from starlette.types import Receive

from gateway.client_http.client import Client
from gateway.errors import BodyTooLargeError
from gateway.headers import Headers, first
from gateway.patience import Patience, Waiting
from gateway.reply import ClientGoneError


async def read_body(
    receive: Receive, headers: Headers, *, max_bytes: int, patience: Patience, client: Client | None = None
) -> bytes:
    """The whole body. Raises as soon as it is known that there is none to be had.

    BodyTooLargeError from the declared length or from what has come; RequestTooSlowError when there is no more
    `patience`; ClientGoneError when the client closes before the end.
    """
    declared = first(headers, b"content-length")
    if declared is not None and int(declared) > max_bytes:
        raise too_large(max_bytes)
    parts: list[bytes] = []
    size = 0
    more = True
    waiting = Waiting(patience)
    while more:
        if client is not None and client.has_sent_all:
            waiting.forever()
        message = await waiting.next(receive, size)
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > max_bytes:
            raise too_large(max_bytes)
        more = message.get("more_body", False)
    return b"".join(parts)


async def wait_until_gone(receive: Receive) -> None:
    """Return when the client closes; called once its body has been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


def too_large(max_bytes: int) -> BodyTooLargeError:
    """The error for a body of more bytes than that."""
    return BodyTooLargeError(f"The request's body is larger than {max_bytes} bytes")
