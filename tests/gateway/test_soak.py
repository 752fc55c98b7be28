"""Many short streams, some of which their clients leave: of none of them does anything remain.

SOAK_ROUNDS=1000 in the environment makes it a long soak.
"""

import asyncio
import gc
import os
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from gateway.rank_http import keep_alive
from gateway.rank_http.keep_alive import MAX_PER_ORIGIN
from tests.gateway.client_http.test_not_reading import connections_of_server
from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.hanging_up import after_an_event, at_once, send_and_hang_up
from tests.gateway.running import COMPLETIONS, DEADLINE_S, Served, eventually, nothing_is_held, post, serving
from tests.gateway.scripted_rank import EVENTS, NO_MORE, STREAM_HEAD, Exchange, ScriptedRank, chunk, scripted_rank

pytestmark = pytest.mark.usefixtures("only_new_objects")

ROUNDS = int(os.environ.get("SOAK_ROUNDS", "6"))
WARM_UP_ROUNDS = 3
AT_ONCE = 40
"""Clients of a round that are there together; each asks or leaves a few times."""
TIMES = 5
STREAM = post(COMPLETIONS, b'{"prompt":"x","stream":true,"stream_options":{"include_usage":true}}')
MAX_GROWTH_BYTES = 6_000_000
MAX_GROWTH_OBJECTS = 300


class Held(NamedTuple):
    """What the process holds."""

    objects: int
    resident_bytes: int
    descriptors: int
    tasks: int


def held() -> Held:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Held(len(gc.get_objects()), pages * os.sysconf("SC_PAGESIZE"), descriptors(), len(asyncio.all_tasks()))


def descriptors() -> int:
    gc.collect()
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def streams_in_parts(exchange: Exchange) -> None:
    await exchange.send(STREAM_HEAD)
    for event in EVENTS:
        await exchange.send(chunk(event))
        await asyncio.sleep(0)
    await exchange.send(NO_MORE)


async def stays(served: Served) -> None:
    """Some streams on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    async with asyncio.timeout(DEADLINE_S):
        for _ in range(TIMES):
            writer.write(STREAM)
            await reader.readuntil(NO_MORE)
    writer.close()


async def leaves(served: Served, random: Random) -> None:
    """Some streams that are left, each at another moment."""
    for _ in range(TIMES):
        earliest = random.choice([at_once, after_an_event])
        await send_and_hang_up(served.port, STREAM, random, within_s=0.01, earliest=earliest)


async def round_of(served: Served, pool: FakePool, rank: ScriptedRank, seed: int) -> None:
    async with asyncio.TaskGroup() as clients:
        for number in range(AT_ONCE):
            clients.create_task(stays(served) if number % 2 else leaves(served, Random(f"{seed} {number}")))
    await eventually(lambda: nothing_is_held(served, pool))
    assert rank.open_connections <= MAX_PER_ORIGIN
    assert set(pool.releases().values()) <= {1}
    # What the parts of the test remember is no leak.
    for memory in (pool.asked, pool.history, pool.avoided, pool.explained, pool.rebound_for, rank.requests):
        memory.clear()
    pool.placed.clear()


async def at_rest(rank: ScriptedRank) -> Held:
    """What is held when no connection is left."""
    connections = connections_of_server()
    await eventually(lambda: rank.open_connections == len(connections) == 0)
    return held()


async def test_of_many_short_streams_and_hang_ups_nothing_remains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep_alive, "KEPT_S", 0.2)
    async with (
        scripted_rank(streams_in_parts) as rank,
        serving(FakePools(pool := FakePool(card(rank.url)))) as served,
    ):
        for seed in range(WARM_UP_ROUNDS):
            await round_of(served, pool, rank, seed)
        before = await at_rest(rank)
        for seed in range(ROUNDS):
            await round_of(served, pool, rank, seed)
        # A client's socket may be open for a moment after the server has seen it end.
        await eventually(lambda: descriptors() <= before.descriptors)
        after = await at_rest(rank)
    assert after.tasks <= before.tasks
    assert after.objects - before.objects < MAX_GROWTH_OBJECTS
    assert after.resident_bytes - before.resident_bytes < MAX_GROWTH_BYTES
