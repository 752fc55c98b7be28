"""Calls of decode ranks between the workers of one port, which cannot be told apart by an address.

Each worker listens on a socket of this host's own, named by its life in Linux's abstract namespace, so no file is left
behind. A call is its length in four bytes, the token's in one, the token and the body; the answer is an HTTP status in
two bytes. Who may open the socket needs the token all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

import anyio
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from gateway import errors
from gateway.errors import GatewayError
from gateway.prefill_answer import MAX_PARAMS_BYTES

CALL_S = 5.0
LENGTH_BYTES = 4
STATUS_BYTES = 2
MAX_BYTES = MAX_PARAMS_BYTES + 256

Take = Callable[[str, bytes], None]
"""Takes a call's token and body. Raises GatewayError."""


class SiblingGoneError(OSError):
    """No worker of this life runs on this host, or it does not answer."""


async def serve_siblings(life: str, take: Take) -> None:
    """Take calls from other workers until cancelled."""

    async def answer(stream: SocketStream) -> None:
        async with stream:
            with anyio.move_on_after(CALL_S):
                try:
                    await stream.send(await _taken(stream, take))
                except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError, ValueError):
                    return  # whoever it was has left, or is none of us

    async with await anyio.create_unix_listener(_name(life)) as listener:
        await listener.serve(answer)


async def call_sibling(life: str, token: str, body: bytes) -> int:
    """The status that the worker of this life answers. Raises SiblingGoneError."""
    try:
        async with await anyio.connect_unix(_name(life)) as stream:
            named = bytes([len(token)]) + token.encode() + body
            await stream.send(len(named).to_bytes(LENGTH_BYTES, "big") + named)
            return int.from_bytes(await BufferedByteReceiveStream(stream).receive_exactly(STATUS_BYTES), "big")
    except (OSError, anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError) as error:
        raise SiblingGoneError(str(error)) from error


async def _taken(stream: SocketStream, take: Take) -> bytes:
    """The answer to a call. Raises ValueError if it is none."""
    buffered = BufferedByteReceiveStream(stream)
    size = int.from_bytes(await buffered.receive_exactly(LENGTH_BYTES), "big")
    if not 1 <= size <= MAX_BYTES:
        raise ValueError("no call is of this length")
    named = await buffered.receive_exactly(size)
    token, body = named[1 : 1 + named[0]].decode(), named[1 + named[0] :]
    status = int(HTTPStatus.OK)
    try:
        take(token, body)
    except GatewayError as error:
        status = errors.status_of(error)
    return status.to_bytes(STATUS_BYTES, "big")


def _name(life: str) -> str:
    return f"\0forebay-calls-{life}"
