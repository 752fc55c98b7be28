"""From a rank's answer to the client's reply, byte for byte but for what a client is not shown.

A stream of events passes as it comes. What is not a stream is small and complete when the engine sends it, so it is
read whole first: a rank that dies inside it is then an error with a status of its own, not half an answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

import anyio

from gateway import opening, usage
from gateway.edits import AS_IT_CAME, Edits, edited
from gateway.errors import RankFailedError
from gateway.event_editor import EventEditor
from gateway.headers import for_client
from gateway.opening import Opening, opening_of
from gateway.reply import Reply
from gateway.stream_end import StreamEnd
from gateway.upstream import RankAnswer
from gateway.usage import Usage

WHOLE_BYTES = 4_000_000
"""Up to this size an answer is read whole before it is passed on."""

EDITED_BYTES = 16_000_000
"""An answer that is to be edited is always read whole. The largest, with 20 log probabilities for each of ten thousand
tokens, has this size.
"""

NOT_BEGUN = "The rank ended its stream before it had begun"

AFTER_DONE_S = 3.0
"""How long a rank may leave its stream open after `[DONE]`; an engine closes it at once."""


class Manner(NamedTuple):
    """How an answer is relayed.

    `tap_usage` reads the usage out of a stream; `edits` are made in it, None for a rank that shares no KV: it has
    nothing to hide, so an answer may have any size. `on_first_token` is called when a stream has its first token.
    `may_retry`: there is somebody else to ask, so nothing goes to the client before the answer is known to be no
    failure.
    """

    tap_usage: bool
    on_first_token: Callable[[], None]
    edits: Edits | None = None
    may_retry: bool = False


async def relay(answer: RankAnswer, reply: Reply, manner: Manner) -> Usage | None:
    """Pass an answer on and return the usage it reports, if it is asked for (for streams) and there.

    Raises RankFailedError, RankTimeoutError, RecomputedError, ClientGoneError.
    """
    if manner.may_retry and answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise RankFailedError(f"The rank answered with status {answer.status}")
    if answer.is_event_stream:
        return await _relay_events(answer, reply, manner)
    return await _relay_whole(answer, reply, manner)


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


async def _relay_events(answer: RankAnswer, reply: Reply, manner: Manner) -> Usage | None:
    events = _EditedEvents(answer, manner.edits or AS_IT_CAME)
    beginning = await _opened(events) if manner.may_retry else b""
    await reply.start(answer.status, for_client(answer.headers), is_event_stream=True)
    tail = b""
    waiting = not beginning
    if beginning:
        manner.on_first_token()
    end = StreamEnd()
    by_s = math.inf
    while part := beginning or await _next(events, by_s):
        beginning = b""
        if waiting:
            waiting = _is_still_silent(part, manner)
        if manner.tap_usage:
            tail = (tail + part)[-usage.TAIL_BYTES :]
        await reply.write(part)
        end.feed(part)
        if end.is_done:
            by_s = min(by_s, anyio.current_time() + AFTER_DONE_S)
    if waiting:
        raise RankFailedError(NOT_BEGUN)
    await reply.end()
    return usage.of_stream(tail)


def _is_still_silent(part: bytes, manner: Manner) -> bool:
    """Whether a stream has yet to begin after this part. Raises RankFailedError if it ends with it."""
    match opening_of(part):
        case Opening.SILENT:
            return True
        case Opening.ENDED:
            raise RankFailedError(NOT_BEGUN)
        case Opening.ERROR:
            return False
        case Opening.GOOD:
            manner.on_first_token()
            return False


async def _next(events: _EditedEvents, by_s: float) -> bytes:
    """The next bytes, b"" at the end, or when they have not come by then."""
    with anyio.CancelScope(deadline=by_s):
        return await events.read()
    return b""


class _EditedEvents:
    """A stream's events, edited; reads like the answer it comes from."""

    def __init__(self, answer: RankAnswer, edits: Edits) -> None:
        self._answer = answer
        self._editor = EventEditor(edits)

    async def read(self) -> bytes:
        """The next bytes, b"" at the end. Raises what the answer's `read` does, and RecomputedError."""
        while self._editor.error is None:
            part = await self._answer.read()
            passed = self._editor.feed(part) if part else self._editor.finish()
            if passed or (not part and self._editor.error is None):
                return passed
        raise self._editor.error


async def _opened(events: _EditedEvents) -> bytes:
    """The beginning of a stream up to the first event that says more than a role. Raises RankFailedError instead if it
    is an error, or there is none.
    """
    parts: list[bytes] = []
    size = 0
    while part := await events.read():
        parts.append(part)
        size += len(part)
        match opening_of(part):
            case Opening.SILENT if size <= opening.MAX_BYTES:
                continue
            case Opening.ERROR:
                raise RankFailedError("The rank began its stream with an error")
            case Opening.ENDED:
                break
            case _:
                return b"".join(parts)
    raise RankFailedError(NOT_BEGUN)


async def _relay_whole(answer: RankAnswer, reply: Reply, manner: Manner) -> Usage | None:
    if manner.edits:
        body = await read_whole(answer, EDITED_BYTES)
    else:
        parts: list[bytes] = []
        size = 0
        while part := await answer.read():
            parts.append(part)
            size += len(part)
            if size > WHOLE_BYTES:
                await _relay_rest(answer, reply, b"".join(parts))
                return None
        body = b"".join(parts)
    body = edited(body, manner.edits or AS_IT_CAME, streamed=False)
    if manner.may_retry and answer.status == HTTPStatus.OK and opening.is_error(body):
        raise RankFailedError("The rank answered with an error")
    await reply.whole(answer.status, for_client(answer.headers), body)
    return usage.of_body(body) if answer.status == HTTPStatus.OK else None


async def _relay_rest(answer: RankAnswer, reply: Reply, beginning: bytes) -> None:
    await reply.start(answer.status, for_client(answer.headers))
    await reply.write(beginning)
    while part := await answer.read():
        await reply.write(part)
    await reply.end()
