"""From a rank's answer to the client's reply, byte for byte but for what a client is not shown.

A stream of events passes as it comes. What is not a stream is small and complete when the engine sends it, so it is
read whole first: a rank that dies inside it is then an error with a status of its own, not half an answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from gateway import opening
from gateway.edits import Edits, edited
from gateway.errors import RankErrorAnswerError, RankFailedError
from gateway.event_stream import EventStream, Tap, Turns
from gateway.headers import for_client
from gateway.reply import Reply
from gateway.request import Claim, unopposed
from gateway.retriable import RETRIED_STATUSES
from gateway.stream_sink import StreamSink
from gateway.upstream import RankAnswer
from gateway.usage_reader import UsageReader
from gateway.withheld_usage import WithheldUsage

WHOLE_BYTES = 4_000_000
"""Up to this size an answer is read whole before it is passed on."""

END_BYTES = 1_024
"""In which the usage of an answer stands that is too large to be read whole, as of many embeddings."""

EDITED_BYTES = 16_000_000
"""An answer that is to be edited is always read whole. The largest, with 20 log probabilities for each of ten thousand
tokens, has this size.
"""

AFTER_DONE_S = 3.0
"""How long a rank may leave its stream open after `[DONE]`; an engine closes it at once."""


class Manner(NamedTuple):
    """How an answer is relayed.

    `usage` is shown the answer, `taps` a stream; `withheld` keeps its usage from the client. `on_first_token` is called
    when a stream has its first token; `edits` are made in an answer. `of_any_size`: the rank shares no KV, so it has
    nothing to hide, and what is too large to be read whole passes. `may_retry`: there is somebody else to ask, so
    nothing goes to the client before the answer is known to be no failure, and then not before `claim` returns.
    `on_beginning` is given what a stream says before its first token, or a good answer that is not streamed.
    """

    usage: UsageReader
    on_first_token: Callable[[], None]
    edits: Edits
    of_any_size: bool = False
    may_retry: bool = False
    claim: Claim = unopposed
    taps: tuple[Tap, ...] = ()
    withheld: WithheldUsage | None = None
    on_beginning: Callable[[bytes], None] | None = None


async def relay(answer: RankAnswer, reply: Reply, manner: Manner) -> None:
    """Pass an answer on.

    Raises RankFailedError, RankErrorAnswerError, RankTimeoutError, RecomputedError, ClientGoneError.
    """
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
        # Clients follow it by themselves, some with their key.
        raise RankFailedError(f"The rank answered with status {answer.status}, which leads its client elsewhere")
    if manner.may_retry and answer.status in RETRIED_STATUSES:
        body = edited(await read_whole(answer, EDITED_BYTES), manner.edits, streamed=False)
        raise RankErrorAnswerError(answer.status, for_client(answer.headers), body)
    if answer.is_event_stream:
        await _relay_events(answer, reply, manner)
    else:
        await _relay_whole(answer, reply, manner)


async def _claim(manner: Manner) -> None:
    """To be awaited before anything goes to the client, and nothing after it until something does.

    An attempt that was given up ends here. Cancelling passes over whoever is about to go on with what has come.
    """
    await checkpoint_if_cancelled()
    await manner.claim()


async def read_whole(answer: RankAnswer, max_bytes: int) -> bytes:
    """The whole body. Raises RankFailedError, RankTimeoutError."""
    parts: list[bytes] = []
    size = 0
    while part := await answer.read():
        parts.append(part)
        size += len(part)
        if size > max_bytes:
            raise RankFailedError(f"The rank's answer is larger than {max_bytes} bytes")
    return b"".join(parts)


async def _relay_events(answer: RankAnswer, reply: Reply, manner: Manner) -> None:
    reading = anyio.CancelScope()
    holds_back = manner.may_retry and answer.status == HTTPStatus.OK

    def end_soon() -> None:
        # Not by anyio's clock, which wants a task: this is called where bytes are received.
        reading.deadline = asyncio.get_running_loop().time() + AFTER_DONE_S

    def on_first_token() -> None:
        answer.on_first_token()
        manner.on_first_token()

    stream = EventStream(
        manner.edits,
        Turns(on_first_token, end_soon, manner.on_beginning),
        manner.usage,
        manner.taps,
        withheld=manner.withheld,
        bears_error=not holds_back,
    )
    most = manner.edits.dialect.opening_bytes
    beginning = await _opened(answer, stream, most) if holds_back else b""
    await _claim(manner)
    reply.last_events = lambda: stream.last
    reply.release_held = stream.release
    await reply.start(answer.status, for_client(answer.headers), is_event_stream=True)
    if beginning:
        await reply.write(beginning)
    with reading:  # not before: a client may be slow to take the beginning
        await _pass_on(answer, reply, stream)
    if left := stream.finish():
        await reply.write(left)
    await reply.end()


async def _opened(answer: RankAnswer, stream: EventStream, most: int) -> bytes:
    """The beginning of a stream up to the first event with a token; a longer one counts as begun and is held back no
    more. Raises RankFailedError instead if it is an error, or there is none.
    """
    parts: list[bytes] = []
    size = 0
    while not stream.has_begun and size <= most:
        part = await answer.read()
        if not part:
            parts.append(stream.finish())
            break
        parts.append(stream.feed(part))
        stream.raise_error()
        size += len(parts[-1])
    return b"".join(parts)


async def _pass_on(answer: RankAnswer, reply: Reply, stream: EventStream) -> None:
    if (client := reply.chunk_client) is not None:
        client.follow(answer)
        try:
            await answer.pour(StreamSink(stream, client.write))
        finally:
            client.follow(None)
        return
    while part := await answer.read():
        if passed := stream.feed(part):
            await reply.write(passed)
        stream.raise_error()


async def _relay_whole(answer: RankAnswer, reply: Reply, manner: Manner) -> None:
    if not manner.of_any_size:
        body = await read_whole(answer, EDITED_BYTES)
    else:
        parts: list[bytes] = []
        size = 0
        while part := await answer.read():
            parts.append(part)
            size += len(part)
            if size > WHOLE_BYTES:
                await _claim(manner)
                end = await _relay_rest(answer, reply, b"".join(parts))
                if answer.status == HTTPStatus.OK:
                    manner.usage.see_end(end)
                return
        body = b"".join(parts)
    body = edited(body, manner.edits, streamed=False)
    if answer.status == HTTPStatus.OK:
        if manner.may_retry and opening.is_error(body):
            raise RankFailedError("The rank answered with an error")
        if opening.is_none(body, answer.content_type):
            raise RankFailedError("The rank's answer is none: it is empty, or no JSON though it says so")
        if manner.on_beginning is not None:
            manner.on_beginning(body)
        manner.usage.see_whole(body)
    await _claim(manner)
    await reply.whole(answer.status, for_client(answer.headers), body)


async def _relay_rest(answer: RankAnswer, reply: Reply, beginning: bytes) -> bytes:
    """Its last bytes."""
    end = beginning[-END_BYTES:]
    await reply.start(answer.status, for_client(answer.headers))
    await reply.write(beginning)
    while part := await answer.read():
        end = (end + part[-END_BYTES:])[-END_BYTES:]
        await reply.write(part)
    await reply.end()
    return end
