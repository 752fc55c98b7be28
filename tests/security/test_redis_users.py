"""Users of Redis: each kind of process can do its own work, and none of the others'."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path
from urllib.parse import quote

import pytest
import redis

from scheduler import admin, calls
from scheduler.errors import StoreDeniedError
from scheduler.homes import Home, Homes
from scheduler.keys import API_KEYS, API_KEYS_VERSION, POOLS, PoolKeys, gateway_address, limit, response_home
from scheduler.lua import Script
from scheduler.messages import RankState
from scheduler.rights import ProcessRole, users
from scheduler.settings import SchedulerSettings
from scheduler.store import open_store
from tests.contract.world import POOL, NumberedGateway, World, sample
from tests.polling import until
from tests.redis_users import ADMIN, ADMIN_PASSWORD, CALLER, redis_with_users, store_by_role, url_of
from tests.samples import ask, card, report, single
from tests.scheduler.pools_at_work import reporter, running
from tests.security.script_calls import call_of
from tests.servers import RedisServer, redis_server

GATEWAY, AGENT_ROLE, OPERATOR = ProcessRole.GATEWAY, ProcessRole.AGENT, ProcessRole.OPERATOR
OWN: dict[ProcessRole, set[Script]] = {
    GATEWAY: set(Script) - CALLER.keys(),
    # What an agent says of a rank is its word, and drained is part of it (scheduler/rights.py).
    AGENT_ROLE: {Script.OPEN, Script.REPORT, Script.REAP, Script.PREFIX_BELIEVED, Script.DRAIN, Script.DP_GROUP},
    OPERATOR: {Script.OPEN, Script.SNAPSHOT, Script.DRAIN, Script.RECEIPT_FIND, Script.DP_GROUP}
    | {Script.API_KEY_PUT, Script.API_KEYS_READ},
}
DENIED = r"^Redis refuses us: (?!.*script: ).*(permission|this user can't)"
DEPLOY = Path(__file__).parents[2] / "deploy" / "redis"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_with_users(tmp_path_factory.mktemp("users")) as running:
        yield running


@pytest.fixture
async def world(server: RedisServer) -> AsyncIterator[World]:
    """A pool with a rank."""

    async def stands_still(_world: World, _ms: int) -> None:
        return

    with admin_of(server) as client:
        client.flushall()
    async with store_by_role(server) as store:
        world = World(store, stands_still)
        await world.begin()
        await world.report(sample("a"))
        yield world


def admin_of(server: RedisServer) -> redis.Redis:
    return server.client(username=ADMIN, password=ADMIN_PASSWORD)


@pytest.mark.parametrize(("role", "script"), list(product(ProcessRole, Script)))
async def test_a_role_can_call_its_own_scripts_and_no_others(
    world: World, server: RedisServer, role: ProcessRole, script: Script
) -> None:
    gateway = NumberedGateway(world, "g")
    await gateway.join()
    await gateway.place(ask(single("a")))
    await world.store.command("ZADD", world.keys.lease, 0, "g")  # there is something to reap
    before = await world.contents()
    async with open_store(url_of(server, role)) as store:
        call = call_of(script, world, gateway)
        if script in OWN[role]:
            await store.run([call])
            return
        with pytest.raises(StoreDeniedError, match=DENIED):
            await store.run([call])
    assert await world.contents() == before


COMMANDS = [
    ("KEYS", "*"), ("SCAN", "0"), ("FLUSHALL",), ("FLUSHDB",), ("CONFIG", "GET", "*"), ("ACL", "LIST"),
    ("SCRIPT", "FLUSH"), ("SHUTDOWN",), ("LATENCY", "RESET"), ("SLOWLOG", "GET"), ("SUBSCRIBE", "x"), ("INFO",),
    ("PUBLISH", "x", "y"), ("REPLICAOF", "no", "one"), ("GET", "another"), ("SET", "another", "1"),
    ("DUMP", PoolKeys(POOL).head), ("RENAME", PoolKeys(POOL).head, "x"), ("CLIENT", "KILL", "TYPE", "normal"),
]  # fmt: skip


@pytest.mark.parametrize(("role", "words"), list(product(ProcessRole, COMMANDS)))
async def test_no_role_can_do_what_none_needs(
    world: World, server: RedisServer, role: ProcessRole, words: tuple[str, ...]
) -> None:
    async with open_store(url_of(server, role)) as store:
        with pytest.raises(StoreDeniedError, match=DENIED):
            await store.command(*words)


KEYS = PoolKeys(POOL)
OTHERS: list[tuple[ProcessRole, tuple[str, ...]]] = [
    (GATEWAY, ("SADD", POOLS, "x")),
    (GATEWAY, ("HSET", KEYS.card, "a", "{}")),
    (GATEWAY, ("HSET", KEYS.seen, "a", "x")),
    (GATEWAY, ("HSET", KEYS.drain, "a", "1")),
    (GATEWAY, ("XREVRANGE", KEYS.receipts, "+", "-")),
    (GATEWAY, ("HSET", API_KEYS, "a", "{}")),
    (GATEWAY, ("SET", API_KEYS_VERSION, "v")),
    (AGENT_ROLE, ("HSET", API_KEYS, "a", "{}")),
    (AGENT_ROLE, ("HGETALL", API_KEYS)),
    (AGENT_ROLE, ("SET", limit("a"), "")),
    (OPERATOR, ("SET", limit("a"), "")),
    (AGENT_ROLE, ("SMEMBERS", POOLS)),
    (AGENT_ROLE, ("DEL", POOLS)),
    (AGENT_ROLE, ("HSET", KEYS.live("g"), "1", "x")),
    (AGENT_ROLE, ("HGETALL", KEYS.live("g"))),
    (AGENT_ROLE, ("XADD", KEYS.receipts, "*", "a", "b")),
    (AGENT_ROLE, ("XREVRANGE", KEYS.receipts, "+", "-")),
    (AGENT_ROLE, ("MGET", KEYS.blocks([bytes(8)])[0])),
    (AGENT_ROLE, ("GET", response_home("r"))),
    (AGENT_ROLE, ("SET", gateway_address("a"), "10.0.0.1:8000")),
    (OPERATOR, ("SADD", POOLS, "x")),
    (OPERATOR, ("HSET", KEYS.live("g"), "1", "x")),
    (OPERATOR, ("HSET", KEYS.card, "a", "{}")),
    (OPERATOR, ("HSET", KEYS.gate, "g", "x")),
    (OPERATOR, ("ZADD", KEYS.lease, "1", "g")),
    (OPERATOR, ("XADD", KEYS.receipts, "*", "a", "b")),
    (OPERATOR, ("DEL", KEYS.receipts)),
    (OPERATOR, ("MGET", KEYS.blocks([bytes(8)])[0])),
    (OPERATOR, ("GET", response_home("r"))),
    (OPERATOR, ("SET", gateway_address("a"), "10.0.0.1:8000")),
]


@pytest.mark.parametrize(("role", "words"), OTHERS)
async def test_no_role_can_touch_anothers_keys_by_plain_commands(
    world: World, server: RedisServer, role: ProcessRole, words: tuple[str, ...]
) -> None:
    async with open_store(url_of(server, role)) as store:
        with pytest.raises(StoreDeniedError, match=DENIED):
            await store.command(*words)


async def test_a_gateway_keeps_responses_finds_them_and_may_ask_whether_their_rank_was_drained(
    server: RedisServer, world: World
) -> None:
    async with open_store(url_of(server, GATEWAY)) as store:
        homes = Homes(store)
        await homes.keep("r", home := Home(POOL, "a", "1"), ttl_s=60)
        assert await homes.find("r") == home
        assert not await homes.is_drained(home)


async def test_a_script_of_ones_own_can_do_no_more(world: World, server: RedisServer) -> None:
    lua = "return redis.call('HSET', KEYS[1], '9', 'forged')"
    async with open_store(url_of(server, AGENT_ROLE)) as store:
        with pytest.raises(StoreDeniedError, match=DENIED):
            await store.command("EVAL", lua, 1, world.keys.live("g"))
        with pytest.raises(StoreDeniedError, match=DENIED):
            await store.command("EVAL", lua.replace("KEYS[1]", f"'{world.keys.live('g')}'"), 0)


async def test_an_agent_with_anothers_user_is_told_so_by_its_first_report(server: RedisServer, world: World) -> None:
    async with open_store(url_of(server, GATEWAY)) as store:
        with pytest.raises(StoreDeniedError, match=DENIED):
            await reporter(store, POOL).report([report("b")], {"b": card("b")})


async def test_a_status_asked_for_with_anothers_user_is_no_empty_one(server: RedisServer) -> None:
    async with open_store(url_of(server, AGENT_ROLE)) as store:
        await reporter(store).report([report("a")], {"a": card("a")})
    async with open_store(url_of(server, GATEWAY)) as store:
        with pytest.raises(StoreDeniedError, match=DENIED):
            await admin.status(store, SchedulerSettings())


async def test_a_gateway_with_anothers_user_says_so_once_and_is_not_ready(
    server: RedisServer, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_store(url_of(server, AGENT_ROLE)) as store, running(store) as pools:
        await until(lambda: "no permissions to run the 'smembers' command" in caplog.text, "it says so")
        assert not pools.ready
    assert len(caplog.records) == 1


async def test_a_gateway_that_may_not_ask_for_the_eviction_policy_says_nothing_of_it(
    server: RedisServer, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_store(url_of(server, AGENT_ROLE)) as store:
        await reporter(store).report([report("a")], {"a": card("a")})
    async with open_store(url_of(server, GATEWAY)) as store, running(store) as pools:
        await until(lambda: pools.ready and pools.names() == ["m"] and not pools.degraded, "it serves the pool")
    assert not caplog.records


async def test_users_of_one_pool_reach_no_other(tmp_path: Path) -> None:
    mine, others = PoolKeys("meta-llama/a*[b]"), PoolKeys("meta-llama/abb")
    with redis_with_users(tmp_path, ["meta-llama/a*[b]"]) as server:
        for role in ProcessRole:
            async with open_store(url_of(server, role)) as store:
                assert await store.run([calls.open_pool(mine, "e1")])
                for call in (calls.open_pool(others, "e1"), calls.snapshot(others, 1)):
                    with pytest.raises(StoreDeniedError, match=DENIED):
                        await store.run([call])


async def test_a_status_shows_the_pools_that_its_user_may_read(tmp_path: Path) -> None:
    with redis_with_users(tmp_path, ["mine"]) as server:
        for pool in ("mine", "others"):
            async with open_store(f"redis://{ADMIN}:{quote(ADMIN_PASSWORD)}@{server.address}") as store:
                await reporter(store, pool).report([report(pool)], {pool: card(pool)})
        async with open_store(url_of(server, OPERATOR)) as store:
            shown = await admin.status(store, SchedulerSettings())
        assert ([rank.pool for rank in shown.ranks], shown.unreadable) == (["mine"], 1)


async def test_the_users_for_redis_6_2_can_do_their_work_too(tmp_path: Path) -> None:
    async def stands_still(_world: World, _ms: int) -> None:
        return

    with redis_with_users(tmp_path, selectors=False) as server:
        async with store_by_role(server) as by_role:
            world = World(by_role, stands_still)
            for role, script in product(ProcessRole, Script):
                await world.begin()
                await world.report(sample("a", state=RankState.UP))
                gateway = NumberedGateway(world, "g")
                await gateway.join()
                await gateway.place(ask(single("a")))
                async with open_store(url_of(server, role)) as store:
                    if script in OWN[role]:
                        await store.run([call_of(script, world, gateway)])
                    world.epoch = "e2" if script is Script.OPEN and script in OWN[role] else world.epoch
        for role in ProcessRole:
            async with open_store(url_of(server, role)) as store:
                for words in COMMANDS[:14]:
                    with pytest.raises(StoreDeniedError, match=DENIED):
                        await store.command(*words)


@pytest.mark.parametrize(("file", "selectors"), [("users.acl", True), ("users-6.2.acl", False)])
def test_the_files_that_are_shipped_are_those_that_the_command_prints(file: str, selectors: bool) -> None:
    unset = {role: f"{role.upper()}_SHA256" for role in ProcessRole}
    assert (DEPLOY / file).read_text() == users(unset, selectors=selectors)


def test_a_password_that_was_not_set_keeps_redis_from_starting(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="ended"),
        redis_server(tmp_path, "--aclfile", str(DEPLOY / "users.acl")),
        suppress(redis.RedisError),
    ):
        pass
