"""When a connection to a rank is used again, and when it is not."""

import asyncio
from contextlib import AsyncExitStack

import anyio
import pytest

from gateway.errors import RankFailedError, RankUnreachableError, TooManyConnectionsError
from gateway.rank_http import keep_alive
from gateway.upstream import Deadlines, Upstream
from tests.gateway.rank_http.raw_rank import CHUNKED, OK, Peer, answering, ask, open_upstream, raw_rank
from tests.polling import until

ONE_S = Deadlines(connect_s=1.0, first_byte_s=20.0, idle_s=20.0)
MANY = 10


@pytest.mark.parametrize("answer", [OK, CHUNKED + b"2\r\nok\r\n0\r\n\r\n"])
async def test_a_connection_whose_answer_is_complete_is_used_again(answer: bytes) -> None:
    async with raw_rank(answering(*[answer] * MANY)) as rank, open_upstream() as upstream:
        for _ in range(MANY):
            assert await ask(upstream, rank.url) == (200, b"ok")
        assert (rank.connections, rank.open) == (1, 1)
    await until(lambda: rank.open == 0, "closing closes what is idle")


@pytest.mark.parametrize(
    "answer",
    [
        OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"),
        OK.replace(b"OK\r\n", b"OK\r\nConnection: x, Close\r\n"),
        OK.replace(b"OK\r\n", b"OK\r\nConnection: x\r\nconnection: CLOSE\r\n"),
        OK.replace(b"1.1", b"1.0"),
        OK.replace(b"1.1 200 OK", b"1.0 200 OK\r\nConnection: keep-alive"),
    ],
)
async def test_a_connection_that_its_rank_does_not_keep_is_closed(answer: bytes) -> None:
    async with raw_rank(answering(answer)) as rank, open_upstream() as upstream:
        assert await ask(upstream, rank.url) == (200, b"ok")
        await until(lambda: rank.open == 0, "the connection is closed")


async def test_an_answer_that_is_left_early_closes_its_connection_at_once() -> None:
    async with raw_rank(answering(CHUNKED + b"2\r\nok\r\n")) as rank, open_upstream() as upstream:
        async with upstream.request("POST", rank.url, [], b"", lambda: None) as answer:
            assert await answer.read() == b"ok"
        await until(lambda: rank.open == 0, "the connection is closed")
        assert upstream.open_requests == 0


async def test_a_request_that_is_cancelled_closes_its_connection_at_once() -> None:
    asked = asyncio.Event()

    async def stalls(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await peer.until_closed()

    async with raw_rank(stalls) as rank, open_upstream() as upstream, anyio.create_task_group() as tasks:
        tasks.start_soon(ask, upstream, rank.url)
        await asked.wait()
        tasks.cancel_scope.cancel()
    await until(lambda: rank.open == 0, "the connection is closed")
    assert upstream.open_requests == 0


async def test_the_last_connection_used_is_used_again_first_and_the_others_grow_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keep_alive, "KEPT_S", 0.5)
    async with raw_rank(answering(*[OK] * MANY)) as rank, open_upstream() as upstream:
        async with AsyncExitStack() as stack:
            for _ in range(3):
                answer = await stack.enter_async_context(upstream.request("POST", rank.url, [], b"", lambda: None))
                assert await answer.read() == b"ok"
        assert (rank.connections, rank.open) == (3, 3)
        monkeypatch.setattr(keep_alive, "KEPT_S", 0.0)
        await ask(upstream, rank.url)
        assert rank.connections == 4
        await until(lambda: rank.open == 0, "what was idle for too long is closed")


async def test_only_so_many_are_kept_for_one_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep_alive, "MAX_PER_ORIGIN", 2)
    async with raw_rank(answering(OK)) as rank, open_upstream() as upstream:
        async with AsyncExitStack() as stack:
            for _ in range(4):
                answer = await stack.enter_async_context(upstream.request("POST", rank.url, [], b"", lambda: None))
                await answer.read()
        await until(lambda: rank.open == 2, "the others are closed")


async def test_idle_connections_make_room_for_other_ranks() -> None:
    async with (
        raw_rank(answering(*[OK] * MANY)) as one,
        raw_rank(answering(*[OK] * MANY)) as other,
        open_upstream(ONE_S, max_connections=1) as upstream,
    ):
        for _ in range(2):
            await ask(upstream, one.url)
            await ask(upstream, other.url)
            await until(lambda: (one.open, other.open) == (0, 1), "one is closed for the other")
        assert (one.connections, other.connections) == (2, 2)


async def test_beyond_the_limit_a_request_waits_and_is_refused_in_the_end() -> None:
    short = Deadlines(connect_s=0.05, first_byte_s=20.0, idle_s=20.0)
    async with raw_rank(answering(OK, OK)) as rank, open_upstream(short, max_connections=1) as upstream:
        async with upstream.request("POST", rank.url, [], b"", lambda: None) as answer:
            with pytest.raises(TooManyConnectionsError):
                await ask(upstream, rank.url)
            await answer.read()
        assert await ask(upstream, rank.url) == (200, b"ok")


async def test_a_request_that_waits_gets_the_next_free_connection() -> None:
    async with (
        raw_rank(answering(OK, OK)) as rank,
        open_upstream(ONE_S, max_connections=1) as upstream,
        anyio.create_task_group() as tasks,
        upstream.request("POST", rank.url, [], b"", lambda: None) as answer,
    ):
        tasks.start_soon(ask, upstream, rank.url)
        await anyio.wait_all_tasks_blocked()
        await answer.read()
    assert rank.connections == 1


async def test_a_connection_that_was_closed_while_idle_is_not_used() -> None:
    async with raw_rank(answering(OK)) as rank, open_upstream() as upstream:

        async def closes(peer: Peer) -> None:
            await peer.request()
            await peer.send(OK)

        async with raw_rank(closes) as closing:
            for number in range(MANY):
                assert await ask(upstream, closing.url) == (200, b"ok")
                await until(lambda: closing.open == 0, "it is closed")
                assert closing.connections == number + 1
        assert await ask(upstream, rank.url) == (200, b"ok")


async def test_the_end_of_an_idle_connection_is_seen_before_the_loop_has_had_its_turn() -> None:
    ended = asyncio.Event()

    async def closes(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        peer.writer.close()
        ended.set()

    async with raw_rank(closes) as rank, open_upstream() as upstream:
        for _ in range(MANY):
            async with upstream.request("POST", rank.url, [], b"", lambda: None) as answer:
                assert await answer.read() == b"ok"
                await ended.wait()
                ended.clear()
        assert rank.connections == MANY


async def test_a_request_of_which_something_was_sent_is_not_sent_again() -> None:
    async def dies(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        peer.writer.transport.abort()

    async with raw_rank(dies) as rank, open_upstream() as upstream:
        assert await ask(upstream, rank.url) == (200, b"ok")
        with pytest.raises(RankFailedError):
            await ask(upstream, rank.url)
        assert rank.connections == 1


@pytest.mark.parametrize("said", [b"x", OK])
async def test_what_comes_while_nobody_asked_closes_the_connection(said: bytes) -> None:
    idle = asyncio.Event()

    async def goes_on(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await idle.wait()
        await peer.send(said)
        await peer.until_closed()

    async with raw_rank(goes_on) as rank, open_upstream() as upstream:
        await ask(upstream, rank.url)
        idle.set()
        await until(lambda: rank.open == 0, "the connection is closed")
        idle.clear()
        assert await ask(upstream, rank.url) == (200, b"ok")
        assert rank.connections == 2


async def test_what_comes_after_the_end_and_before_it_was_read_closes_the_connection() -> None:
    read = asyncio.Event()

    async def goes_on(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await read.wait()
        await peer.send(OK)
        await peer.until_closed()

    async with raw_rank(goes_on) as rank, open_upstream() as upstream:
        async with upstream.request("POST", rank.url, [], b"", lambda: None) as answer:
            assert await answer.read() == b"ok"
            read.set()
            await until(lambda: rank.open == 0, "the connection is closed")
            assert await answer.read() == b""
            read.clear()
        assert await ask(upstream, rank.url) == (200, b"ok")


async def test_nothing_is_kept_by_one_that_is_closed() -> None:
    async with raw_rank(answering(OK)) as rank:
        upstream = Upstream(ONE_S, 1)
        async with upstream.request("POST", rank.url, [], b"", lambda: None) as answer:
            await answer.read()
            await upstream.aclose()
        await until(lambda: rank.open == 0, "the connection is closed")


async def test_a_rank_that_takes_no_connection_cannot_be_reached() -> None:
    async with open_upstream(ONE_S) as upstream:
        for url in ("http://127.0.0.1:9", "https://127.0.0.1:9", f"http://{'a' * 64}.b:80", "http://a..b:80"):
            with pytest.raises(RankUnreachableError):
                await ask(upstream, url)
        assert upstream.open_requests == 0
