"""Bodies of requests: in parts, held up, said to be sent, answered early."""

import asyncio
from collections.abc import AsyncIterator

import anyio
import pytest

from gateway.errors import InvalidRequestError, RankTimeoutError
from gateway.reply import ClientGoneError
from gateway.upstream import Deadlines
from tests.gateway.rank_http.raw_rank import OK, Peer, open_upstream, raw_rank
from tests.polling import until


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
        await asyncio.Event().wait()  # until the test is over

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


async def test_a_connection_on_which_a_body_has_not_ended_takes_no_other_request() -> None:
    async def never_ends() -> AsyncIterator[bytes]:
        yield b"hello"
        await anyio.sleep_forever()

    async def answers_early(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.until_closed()

    async with raw_rank(answers_early) as rank, open_upstream() as upstream:
        for _ in range(2):
            async with upstream.request("POST", rank.url, [], never_ends(), lambda: None) as answer:
                assert await answer.read() == b"ok"
        assert rank.connections == 2


SOON = Deadlines(connect_s=5.0, first_byte_s=0.5, idle_s=20.0)


async def slowly() -> AsyncIterator[bytes]:
    """A body whose client takes longer between two parts than a rank may to its first byte."""
    yield b"hello"
    await asyncio.sleep(1.5 * SOON.first_byte_s)
    yield b"hello"


async def test_while_a_client_sends_its_body_its_rank_need_not_answer() -> None:
    async def takes(peer: Peer) -> None:
        await peer.request()
        await peer.reader.readuntil(b"0\r\n\r\n")
        await peer.send(OK)

    async with (
        raw_rank(takes) as rank,
        open_upstream(SOON) as upstream,
        upstream.request("POST", rank.url, [], slowly(), lambda: None) as answer,
    ):
        assert await answer.read() == b"ok"


@pytest.mark.parametrize("parts", [(), (b"hello",)])
async def test_once_the_body_is_there_it_must(parts: tuple[bytes, ...]) -> None:
    async with raw_rank(Peer.until_closed) as rank, open_upstream(SOON) as upstream:
        with pytest.raises(RankTimeoutError):
            async with upstream.request("POST", rank.url, [], parts_of(*parts), lambda: None):
                pass


async def test_nor_may_a_rank_that_has_begun_to_answer_wait_for_the_rest_of_the_body() -> None:
    async def begins(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK.removesuffix(b"ok"))
        await peer.until_closed()

    async def never_ends() -> AsyncIterator[bytes]:
        yield b"hello"
        await anyio.sleep_forever()

    async with (
        raw_rank(begins) as rank,
        open_upstream(SOON) as upstream,
        upstream.request("POST", rank.url, [], never_ends(), lambda: None) as answer,
    ):
        with pytest.raises(RankTimeoutError):
            await answer.read()
