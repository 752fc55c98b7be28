"""Bodies in both directions as they come: poured, read, held up, timed."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from gateway.errors import InvalidRequestError, RankFailedError, RankTimeoutError
from gateway.rank_http import unread
from gateway.reply import ClientGoneError
from gateway.upstream import Deadlines, RankAnswer, Upstream
from tests.gateway.rank_http.raw_rank import CHUNKED, OK, Peer, RawRank, answering, ask, open_upstream, raw_rank
from tests.gateway.rank_http.sinks import Kept
from tests.polling import until

EVENT = b"data: " + b"x" * 200 + b"\n\n"
WIRE = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
SOON = Deadlines(connect_s=5.0, first_byte_s=0.1, idle_s=0.1)
IDLE_SOON = Deadlines(connect_s=5.0, first_byte_s=20.0, idle_s=0.1)


async def pour(upstream: Upstream, rank: RawRank) -> Kept:
    """The body of one answer, poured."""
    async with upstream.request("POST", rank.url, [], b"", lambda: None) as answer:
        await answer.pour(kept := Kept())
    return kept


async def test_a_poured_body_comes_chunk_by_chunk_as_it_was_sent() -> None:
    seen = asyncio.Event()

    async def sends(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        for _ in range(5):
            await peer.send(WIRE)
            await seen.wait()
            seen.clear()
        await peer.send(b"0\r\n\r\n")
        await peer.until_closed()

    class Seeing(Kept):
        def take_chunks(self, chunks: bytes) -> None:
            super().take_chunks(chunks)
            seen.set()

        def take(self, payload: bytes) -> None:
            super().take(payload)
            seen.set()

    async with raw_rank(sends) as rank, open_upstream() as upstream:
        async with upstream.request("POST", rank.url, [], b"", lambda: None) as answer:
            await answer.pour(kept := Seeing())
            assert kept.parts == [EVENT] * 5
            # The first may have come with the head, before it was poured.
            assert kept.verbatim in {WIRE * 4, WIRE * 5}
            assert answer.awaited_since_s is None
        assert rank.open == 1


async def test_what_was_not_read_is_poured_first() -> None:
    async with raw_rank(answering(CHUNKED + WIRE * 3 + b"0\r\n\r\n")) as rank, open_upstream() as upstream:
        kept = await pour(upstream, rank)
    assert kept.payload == EVENT * 3


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
async def test_other_framings_pour_payload(head: bytes) -> None:
    async def sends(peer: Peer) -> None:
        await peer.request()
        await peer.send(head, b"he", b"llo")

    async with raw_rank(sends) as rank, open_upstream() as upstream:
        kept = await pour(upstream, rank)
    assert (kept.payload, kept.verbatim) == (b"hello", b"")


@pytest.mark.parametrize("end", [b"", b"zz\r\n", b"0\r\n\r\nx"])
async def test_a_pour_fails_with_its_rank_after_what_was_good(end: bytes) -> None:
    pouring = asyncio.Event()

    async def breaks_off(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        await pouring.wait()
        await peer.send(WIRE + end)

    async with raw_rank(breaks_off) as rank, open_upstream() as upstream:
        async with upstream.request("POST", rank.url, [], b"", lambda: None) as answer:
            pouring.set()
            with pytest.raises(RankFailedError):
                await answer.pour(kept := Kept())
        await until(lambda: rank.open == 0, "the connection is closed")
    assert kept.verbatim == WIRE


class Refuses(Kept):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def take_chunks(self, chunks: bytes) -> None:
        raise self._error


@pytest.mark.parametrize("error", [ClientGoneError(), ZeroDivisionError("a bug")])
async def test_what_a_sink_raises_ends_the_pour_and_closes_the_connection(error: Exception) -> None:
    pouring = asyncio.Event()
    reports: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context["exception"]))

    async def sends(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        await pouring.wait()
        await peer.send(WIRE)
        await peer.until_closed()

    async with raw_rank(sends) as rank, open_upstream() as upstream:
        async with upstream.request("POST", rank.url, [], b"", lambda: None) as answer:
            pouring.set()
            with pytest.raises(type(error)):
                await answer.pour(Refuses(error))
        await until(lambda: rank.open == 0, "the connection is closed")
    assert reports == ([error] if isinstance(error, ZeroDivisionError) else [])


async def floods(peer: Peer) -> None:
    await peer.request()
    await peer.send(CHUNKED)
    flood.sent = 0
    while True:
        await peer.send(WIRE * 200)
        flood.sent += 1


class _Flood:
    sent = 0


flood = _Flood()


async def comes_to_rest() -> None:
    """Wait until the rank can send no more."""
    seen = -1
    while seen != flood.sent:
        seen = flood.sent
        await asyncio.sleep(0.1)


async def test_what_is_not_read_stops_the_rank() -> None:
    async with (
        raw_rank(floods) as rank,
        open_upstream() as upstream,
        upstream.request("POST", rank.url, [], b"", lambda: None) as answer,
    ):
        await comes_to_rest()
        total = len(await answer.read())
        assert unread.MAX_BYTES < total < 3 * unread.MAX_BYTES
        while total < 20_000_000:
            total += len(await answer.read())


async def test_a_paused_pour_stops_the_rank_and_no_deadline_passes() -> None:
    class Pausing(Kept):
        answer: RankAnswer

        def take_chunks(self, chunks: bytes) -> None:
            super().take_chunks(chunks)
            self.answer.pause()

    async with raw_rank(floods) as rank, open_upstream(IDLE_SOON) as upstream, anyio.create_task_group() as tasks:
        async with upstream.request("POST", rank.url, [], b"", lambda: None) as answer:
            kept = Pausing()
            kept.answer = answer
            tasks.start_soon(_pour_until_left, answer, kept)
            await until(lambda: bool(kept.parts), "something comes")
            await comes_to_rest()
            await asyncio.sleep(0.3)
            assert len(kept.parts) <= 2
            assert answer.awaited_since_s is None
            answer.resume()
            assert answer.awaited_since_s is not None
            await until(lambda: len(kept.parts) > 2, "more comes")
        tasks.cancel_scope.cancel()


async def _pour_until_left(answer: RankAnswer, kept: Kept) -> None:
    await answer.pour(kept)


@pytest.mark.parametrize("sent", [b"", CHUNKED, CHUNKED + WIRE, CHUNKED + WIRE[:9], b"HTTP/1.1 100 Continue\r\n\r\n"])
@pytest.mark.parametrize("poured", [False, True])
async def test_a_rank_that_falls_silent_is_a_timeout(sent: bytes, poured: bool) -> None:
    async def stalls(peer: Peer) -> None:
        await peer.request()
        await peer.send(sent)
        await peer.until_closed()

    async with raw_rank(stalls) as rank, open_upstream(SOON) as upstream:
        with pytest.raises(RankTimeoutError):
            await (pour(upstream, rank) if poured else ask(upstream, rank.url))
        await until(lambda: rank.open == 0, "the connection is closed")


async def test_a_rank_that_sends_again_and_again_is_not_silent() -> None:
    async def sends(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        for _ in range(15):
            await peer.send(WIRE)
            await asyncio.sleep(0.02)
        await peer.send(b"0\r\n\r\n")

    async with raw_rank(sends) as rank, open_upstream(IDLE_SOON) as upstream:
        kept = await pour(upstream, rank)
    assert kept.payload == EVENT * 15


async def parts_of(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        await asyncio.sleep(0)
        yield part


@pytest.mark.parametrize("length", [None, 10])
async def test_a_body_in_parts_is_sent_as_it_comes_and_the_connection_is_kept(length: int | None) -> None:
    wire = b"hello" * 2 if length else b"5\r\nhello\r\n5\r\nhello\r\n0\r\n\r\n"
    sent: list[None] = []

    async def takes(peer: Peer) -> None:
        for _ in range(2):
            await peer.request()
            assert await peer.reader.readexactly(len(wire)) == wire
            await peer.send(OK)
        await peer.until_closed()

    headers = [(b"content-length", b"%d" % length)] if length else []
    async with raw_rank(takes) as rank, open_upstream() as upstream:
        for _ in range(2):
            body = parts_of(b"hello", b"", b"hello")
            async with upstream.request("POST", rank.url, headers, body, lambda: sent.append(None)) as answer:
                assert await answer.read() == b"ok"
        assert (rank.connections, len(sent)) == (1, 2)


@pytest.mark.parametrize("parts", [(b"hello",), (b"hello", b"hello", b"!")])
async def test_a_body_that_is_not_as_long_as_it_says_is_not_sent_on(parts: tuple[bytes, ...]) -> None:
    headers = [(b"content-length", b"10")]
    async with raw_rank(Peer.until_closed) as rank, open_upstream() as upstream:
        with pytest.raises(InvalidRequestError):
            async with upstream.request("POST", rank.url, headers, parts_of(*parts), lambda: None):
                pass
        await until(lambda: rank.open == 0, "the connection is closed")


async def test_what_ends_a_body_ends_its_request() -> None:
    async def breaks() -> AsyncIterator[bytes]:
        yield b"{"
        raise ClientGoneError

    async with raw_rank(Peer.until_closed) as rank, open_upstream() as upstream:
        with pytest.raises(ClientGoneError):
            async with upstream.request("POST", rank.url, [], breaks(), lambda: None):
                pass
        await until(lambda: rank.open == 0, "the connection is closed")
        assert upstream.open_requests == 0


async def endless(sent: list[int]) -> AsyncIterator[bytes]:
    while True:
        sent.append(65_536)
        yield b"x" * 65_536


async def test_an_answer_may_come_before_the_body_is_sent_and_ends_it() -> None:
    sent: list[int] = []
    told: list[None] = []

    async def refuses(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK.replace(b"200 OK", b"413 Too Large"))
        await peer.until_closed()

    async with raw_rank(refuses) as rank, open_upstream() as upstream:
        body = endless(sent)
        async with upstream.request("POST", rank.url, [], body, lambda: told.append(None)) as answer:
            assert (answer.status, await answer.read(), await answer.read()) == (413, b"ok", b"")
        await until(lambda: rank.open == 0, "the connection is closed")
        await body.aclose()  # type: ignore[attr-defined]
        assert (rank.connections, told) == (1, [])


async def test_a_rank_that_does_not_read_stops_the_body() -> None:
    sent: list[int] = []

    async def stalls(peer: Peer) -> None:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(20)

    async with (
        raw_rank(stalls, receive_bytes=4096) as rank,
        open_upstream(Deadlines(5.0, 1.0, 1.0)) as upstream,
    ):
        body = endless(sent)
        with pytest.raises(RankTimeoutError):
            async with upstream.request("POST", rank.url, [], body, lambda: None):
                pass
        assert sum(sent) < 30_000_000
        await body.aclose()  # type: ignore[attr-defined]


async def test_a_request_is_said_to_be_sent_when_its_last_byte_has_left() -> None:
    may_read = asyncio.Event()
    told: list[None] = []
    body = b"x" * 30_000_000

    async def reads_late(peer: Peer) -> None:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await may_read.wait()
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await peer.request()
        await peer.reader.readexactly(len(body))
        await peer.send(OK)
        await peer.until_closed()

    async with (
        raw_rank(reads_late) as rank,
        open_upstream() as upstream,
        anyio.create_task_group() as tasks,
    ):

        async def post() -> None:
            async with upstream.request("POST", rank.url, [], body, lambda: told.append(None)) as answer:
                assert await answer.read() == b"ok"

        tasks.start_soon(post)
        await until(lambda: rank.open == 1, "it is connected")
        await asyncio.sleep(0.1)
        assert told == []
        may_read.set()
        await until(lambda: told == [None], "all is sent")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0  # noqa: PTH208


async def test_of_many_requests_no_descriptor_remains() -> None:
    async def round_of(requests: int) -> None:
        async with open_upstream() as upstream:
            for _ in range(requests):
                async with upstream.request("POST", stalling.url, [], b"", lambda: None) as answer:
                    await answer.read()
                await ask(upstream, rank.url)
        await until(lambda: stalling.open == rank.open == 0, "all are closed")

    async with raw_rank(answering(CHUNKED + WIRE)) as stalling, raw_rank(answering(*[OK] * 20)) as rank:
        await round_of(1)
        before = descriptors()
        await round_of(20)
        await until(lambda: descriptors() <= before, "all descriptors are closed")


async def test_an_answer_that_is_over_leaves_its_connection_to_the_next() -> None:
    class Pausing(Kept):
        def take_chunks(self, chunks: bytes) -> None:
            super().take_chunks(chunks)
            over.pause()

    async with raw_rank(answering(*[CHUNKED + WIRE + b"0\r\n\r\n"] * 3)) as rank, open_upstream() as upstream:
        for _ in range(3):
            async with upstream.request("POST", rank.url, [], b"", lambda: None) as over:
                await over.pour(kept := Pausing())
            over.resume()
            over.pause()
            assert kept.payload == EVENT
        assert rank.connections == 1
