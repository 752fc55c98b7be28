"""What a Redis that has no memory left may forget: it is told to by a time to live, which no key of the ledger has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import msgspec
import pytest
import redis

from scheduler import admin, calls
from scheduler.decision import Place
from scheduler.errors import StoreFullError
from scheduler.group_generation import NONE, Span, Standing, Step
from scheduler.group_member import GroupMember
from scheduler.homes import Home, Homes
from scheduler.keys import POOLS, PREFIX, PoolKeys
from scheduler.messages import Phase
from scheduler.pool import Pool
from scheduler.store import Store, open_store
from tests.polling import until
from tests.samples import report
from tests.scheduler.pools_at_work import reporter, running
from tests.scheduler.prefix_scene import prompt
from tests.scheduler.samples import pd_card
from tests.scheduler.scene import SETTINGS
from tests.servers import needs_redis, redis_server

RANKS = ("m1", "p1", "d1")
KEYS = PoolKeys("m")
MEMORY = ("--maxmemory", "4mb")


@asynccontextmanager
async def a_pool_on(store: Store) -> AsyncIterator[Pool]:
    agent = reporter(store)
    cards = {name: pd_card(name, dp_group=f"g-{name}") for name in RANKS}
    await agent.report([report(name, computed_tokens=0) for name in RANKS], cards)
    async with running(store, frozenset({"nixl"})) as pools:
        await until(lambda: pools.names() == ["m"] and not pools.degraded, "the pool was found")
        pool = pools.get("m")
        assert pool is not None
        yield pool


async def work(pool: Pool, store: Store) -> None:
    """Leaves keys of all kinds in the store."""
    for number in range(6):
        shape = msgspec.structs.replace(prompt(1, 2, number), pairable=number % 2 == 0)
        place = await pool.place(shape, receipt_for=f"req-{number}")
        assert isinstance(place, Place)
        for phase in (Phase.DISPATCHED, Phase.PREFILL_DONE):
            pool.advance(place.reservation, phase)
        if len(place.legs) > 1:
            await pool.rebind(place.reservation)
    pool.heard(pool.view.ranks["m1"].card, well=False)
    await admin.drain(store, "m1", SETTINGS)
    await store.run([calls.prefix_believed(KEYS.believed(["0a"]), 60_000, [1])])
    await Homes(store).keep("resp-1", Home("m", "m1", "i1"), 60)
    member = GroupMember(store, pool="m", group="g", name="n", span=Span(0, 1, 2), settings=SETTINGS)
    await member.tell(Standing(NONE, Step.STOPPED))


def lives(client: redis.Redis) -> dict[str, bool]:
    """All keys, and whether they expire."""
    keys = list(client.scan_iter(count=1_000))
    with client.pipeline(transaction=False) as asked:
        for key in keys:
            asked.ttl(key)
        return {key.decode(): ttl_s >= 0 for key, ttl_s in zip(keys, asked.execute(), strict=True)}


def fill(seed: int) -> list[calls.Call]:
    """Prompts that were placed, 20 in an exchange."""
    chance = Random(seed)
    return [
        calls.prefix_touch(KEYS.blocks([chance.randbytes(8) for _ in range(90)]), 600_000, ["0a=1"]) for _ in range(20)
    ]


@needs_redis
async def test_nothing_expires_but_what_may_be_lost(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server, server.client() as client:
        async with open_store(server.url) as store, a_pool_on(store) as pool:
            await work(pool, store)
            written = {KEYS.receipts, KEYS.breaker, *KEYS.blocks([bytes([1, 0])])}
            await until(lambda: written <= lives(client).keys(), "receipts, breakers and prefixes are written down")
            found = lives(client)
        assert {key for key, expires in found.items() if expires} == {
            key for key in found if key.startswith((f"{PREFIX}:{{m/", f"{PREFIX}:response:"))
        }
        kinds = {value for name, value in vars(KEYS).items() if not name.startswith("_")}
        staying = {key for key, expires in found.items() if not expires}
        assert staying - {key for key in staying if key.startswith(KEYS.live(""))} == {*kinds, POOLS}
        assert any(key.startswith(KEYS.live("")) for key in staying)
        assert [kind for kind in (":believed:", ":response:") if not any(kind in key for key in found)] == []


@needs_redis
async def test_a_full_redis_that_may_forget_gives_up_blocks_and_never_the_ledger(tmp_path: Path) -> None:
    with redis_server(tmp_path, *MEMORY, "--maxmemory-policy", "volatile-ttl") as server:
        async with open_store(server.url) as store, a_pool_on(store) as pool:
            await work(pool, store)
            with server.client() as client:
                before = {key for key, expires in lives(client).items() if not expires}
                for seed in range(12):
                    assert await store.run(fill(seed)) == [[b"ok"]] * 20
                    assert not pool.degraded
                assert client.info("stats")["evicted_keys"] > 1_000
                after = {key for key, expires in lives(client).items() if not expires}
            assert before <= after
            place = await pool.place(prompt(1, 2))
            assert isinstance(place, Place)
            assert not place.alone
            assert pool.counters["prefix_fulls"] == pool.counters["resyncs"] == 0


@needs_redis
async def test_a_full_redis_that_may_not_says_so(tmp_path: Path) -> None:
    with redis_server(tmp_path, *MEMORY, "--maxmemory-policy", "noeviction") as server:
        async with open_store(server.url) as store:
            with pytest.raises(StoreFullError):
                await store.run([call for seed in range(12) for call in fill(seed)])


@needs_redis
@pytest.mark.parametrize(("policy", "warned"), [("allkeys-lru", True), ("volatile-ttl", False), ("noeviction", False)])
async def test_a_redis_that_may_forget_the_ledger_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, policy: str, warned: bool
) -> None:
    with redis_server(tmp_path, "--maxmemory-policy", policy) as server:
        async with open_store(server.url) as store, a_pool_on(store):
            assert (f"maxmemory-policy {policy}" in caplog.text) is warned
