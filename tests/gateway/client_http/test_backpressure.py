"""A client that reads too slowly makes its rank wait: on the direct way of a stream nothing piles up in between."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.running import COMPLETIONS, DEADLINE_S, Served, eventually, nothing_is_held, post, serving
from tests.gateway.scripted_rank import EVENTS, NO_MORE, STREAM_HEAD, Exchange, ScriptedRank, chunk, scripted_rank
from tests.polling import until_at_rest

ASK = post(COMPLETIONS, b'{"prompt":"flood","stream":true}')
SMALL_BYTES = 4096
BURST = chunk(EVENTS[0]) * 300
HELD_BYTES = 16_000_000
"""More than all sockets on the way and the gateway's own buffers may hold, and far less than the rank would send."""


class Flood:
    """A stream as fast as it is taken, `sent_bytes` so far, which `ends` in its own way once it may."""

    def __init__(self) -> None:
        self.sent_bytes = 0
        self.is_to_end = asyncio.Event()
        self.dies = False

    async def script(self, exchange: Exchange) -> None:
        if b"flood" not in exchange.request.body:
            await exchange.send(STREAM_HEAD, *map(chunk, EVENTS), NO_MORE)
            return
        await exchange.send(STREAM_HEAD)
        while not self.is_to_end.is_set():
            await exchange.send(BURST)
            self.sent_bytes += len(BURST)
            await asyncio.sleep(0)
        if self.dies:
            exchange.abort()
        else:
            await exchange.send(*map(chunk, EVENTS), NO_MORE)

    async def rests(self) -> None:
        """Wait until nothing more is taken."""
        await until_at_rest(lambda: self.sent_bytes, "nothing more is taken", within_s=DEADLINE_S)


class Slow(NamedTuple):
    """A client that has asked for the flood and has not read since the rank came to rest."""

    client: socket.socket
    flood: Flood
    served: Served
    pool: FakePool
    rank: ScriptedRank

    async def read(self, at_least_bytes: int) -> bytes:
        """Read on; more may come."""
        got = bytearray()
        async with asyncio.timeout(DEADLINE_S):
            while len(got) < at_least_bytes:
                got += await self._part()
        return bytes(got)

    async def read_to_end(self) -> bytes:
        """All that still comes until the stream's last chunk."""
        got = bytearray()
        async with asyncio.timeout(DEADLINE_S):
            while not got.endswith(NO_MORE):
                got += await self._part()
        return bytes(got[-4000:])

    async def _part(self) -> bytes:
        part = await asyncio.get_running_loop().sock_recv(self.client, 1 << 20)
        if not part:
            raise ConnectionAbortedError
        return part


@contextmanager
def slow_client(port: int) -> Iterator[socket.socket]:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BYTES)
        client.connect(("127.0.0.1", port))
        client.setblocking(False)
        yield client


@asynccontextmanager
async def paused(**options: int) -> AsyncIterator[Slow]:
    """A stream whose client has stopped reading."""
    flood = Flood()
    async with (
        scripted_rank(flood.script) as rank,
        serving(FakePools(pool := FakePool(card(rank.url))), **options) as served,
    ):
        with slow_client(served.port) as client:
            client.send(ASK)
            await flood.rests()
            yield Slow(client, flood, served, pool, rank)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def test_a_rank_whose_client_does_not_read_is_not_read_either_and_nobody_else_waits() -> None:
    before = resident_bytes()
    async with paused() as slow:
        assert slow.flood.sent_bytes < HELD_BYTES
        assert resident_bytes() - before < HELD_BYTES
        for _ in range(3):
            assert (await slow.served.complete(stream=True)).content == b"".join(EVENTS)
        assert (await slow.served.complete()).status_code == 200


async def test_when_the_client_reads_on_the_stream_goes_on_to_its_end() -> None:
    async with paused() as slow:
        rested_at = slow.flood.sent_bytes
        await slow.read(4 * rested_at)
        assert slow.flood.sent_bytes > 3 * rested_at
        await slow.flood.rests()
        slow.flood.is_to_end.set()
        assert EVENTS[-1] in await slow.read_to_end()
        await eventually(lambda: nothing_is_held(slow.served, slow.pool))
    assert slow.pool.words() == ["dispatched", "first_token", "released"]


async def test_a_client_that_never_reads_on_is_dropped_and_its_rank_with_it() -> None:
    async with paused(client_idle_ms=600) as slow:
        await eventually(lambda: slow.rank.open_connections == 0)
        await eventually(lambda: nothing_is_held(slow.served, slow.pool))
        with pytest.raises(ConnectionError):
            await slow.read(HELD_BYTES)


async def test_a_client_that_reads_a_little_now_and_then_is_not_dropped() -> None:
    async with paused(client_idle_ms=2_500) as slow:
        for _ in range(3):
            await slow.read(2_000_000)
            await asyncio.sleep(1)
        assert slow.rank.open_connections == 1
        assert slow.pool.live == {1}


async def test_a_client_that_leaves_while_its_rank_waits_leaves_nothing() -> None:
    async with paused() as slow:
        slow.client.close()
        await eventually(lambda: slow.rank.open_connections == 0)
        await eventually(lambda: nothing_is_held(slow.served, slow.pool))
    assert slow.pool.releases() == {1: 1}


async def test_a_request_that_is_cut_while_its_client_does_not_read_frees_its_rank_at_once() -> None:
    async with paused() as slow:
        slow.served.gateway.cut_all()
        await eventually(lambda: slow.rank.open_connections == 0)
        await eventually(lambda: slow.served.gateway.upstream.open_requests == 0)
        assert b"shutting down" in await slow.read_to_end()
        await eventually(lambda: nothing_is_held(slow.served, slow.pool))


async def test_of_a_rank_that_dies_while_its_client_does_not_read_all_that_came_is_passed_and_then_an_error() -> None:
    async with paused() as slow:
        slow.flood.dies = True
        slow.flood.is_to_end.set()
        await slow.read(1_000_000)
        last = await slow.read_to_end()
    events = last.rpartition(EVENTS[0])[2]
    assert b'"code":502' in events
    assert b"[DONE]" not in last
    assert slow.pool.words() == ["dispatched", "first_token", "released"]


async def test_a_rank_is_not_timed_out_for_the_silence_of_a_client_that_does_not_read() -> None:
    async with paused(idle_ms=300) as slow:
        await asyncio.sleep(0.6)
        assert slow.rank.open_connections == 1
        slow.flood.is_to_end.set()
        assert EVENTS[-1] in await slow.read_to_end()
