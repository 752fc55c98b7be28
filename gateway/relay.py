"""From a rank's answer to the client's reply, byte for byte.

A stream of events passes as it comes. What is not a stream is small and complete when the engine sends it, so it is
read whole first: a rank that dies inside it is then an error with a status of its own, not half an answer.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from gateway import usage
from gateway.headers import for_client
from gateway.reply import Reply
from gateway.upstream import RankAnswer
from gateway.usage import Usage

WHOLE_BYTES = 4_000_000
"""Up to this size an answer is read whole before it is passed on."""


async def relay(
    answer: RankAnswer, reply: Reply, *, tap_usage: bool, on_first_token: Callable[[], None]
) -> Usage | None:
    """Pass an answer on and return the usage it reports, if it is asked for (`tap_usage`, for streams) and there.

    `on_first_token` is called when the first event of a stream is there. Raises RankFailedError, RankTimeoutError,
    ClientGoneError.
    """
    if answer.is_event_stream:
        return await _relay_events(answer, reply, tap_usage=tap_usage, on_first_token=on_first_token)
    return await _relay_whole(answer, reply)


async def _relay_events(
    answer: RankAnswer, reply: Reply, *, tap_usage: bool, on_first_token: Callable[[], None]
) -> Usage | None:
    await reply.start(answer.status, for_client(answer.headers), is_event_stream=True)
    tail = b""
    waiting = True
    while part := await answer.read():
        # A comment only keeps the connection alive; the first event comes with the first token.
        if waiting and not part.startswith(b":"):
            waiting = False
            on_first_token()
        if tap_usage:
            tail = (tail + part)[-usage.TAIL_BYTES :]
        await reply.write(part)
    await reply.end()
    return usage.of_stream(tail)


async def _relay_whole(answer: RankAnswer, reply: Reply) -> Usage | None:
    parts: list[bytes] = []
    size = 0
    while part := await answer.read():
        parts.append(part)
        size += len(part)
        if size > WHOLE_BYTES:
            await _relay_rest(answer, reply, b"".join(parts))
            return None
    body = b"".join(parts)
    await reply.whole(answer.status, for_client(answer.headers), body)
    return usage.of_body(body) if answer.status == HTTPStatus.OK else None


async def _relay_rest(answer: RankAnswer, reply: Reply, beginning: bytes) -> None:
    await reply.start(answer.status, for_client(answer.headers))
    await reply.write(beginning)
    while part := await answer.read():
        await reply.write(part)
    await reply.end()
