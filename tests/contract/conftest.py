"""Every store the ledger runs on, each as a world to drive."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import redis

from forebay.embedded_redis import EmbeddedRedis
from scheduler.store import Store, open_store
from simulator.store import VirtualStore
from tests.contract.world import NumberedGateway, World
from tests.redis_users import ADMIN, ADMIN_PASSWORD, redis_with_users, store_by_role
from tests.servers import RedisServer, cluster_server, needs_redis, redis_server


@pytest.fixture(scope="session")
def fakeredis_url() -> Iterator[str]:
    """fakeredis behind a socket, as `forebay up` runs it without redis-server."""
    with EmbeddedRedis("127.0.0.1", 0) as embedded:
        serving = threading.Thread(target=embedded.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        yield f"redis://127.0.0.1:{embedded.server_address[1]}"
        embedded.shutdown()
        serving.join()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(scope="session")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with cluster_server(tmp_path_factory.mktemp("cluster")) as server:
        yield f"redis+cluster://{server.address}"


@pytest.fixture(scope="session")
def users_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Redis whose users may do no more than their own (scheduler/rights.py)."""
    with redis_with_users(tmp_path_factory.mktemp("users")) as server:
        yield server


@pytest.fixture(
    params=[
        "virtual",
        "fakeredis",
        pytest.param("redis", marks=needs_redis),
        pytest.param("cluster", marks=needs_redis),
        pytest.param("users", marks=needs_redis),
    ]
)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """An open, empty pool, once in each store."""
    if request.param == "virtual":
        world = virtual_world()
        await world.begin()
        await world.drain("nobody")  # the first look at the clock is a jump
        yield world
        return
    async with _emptied(request) as store:
        world = World(store, _write_back)
        await world.begin()
        await world.drain("nobody")
        yield world


@asynccontextmanager
async def _emptied(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """The store that the parameter names, on a server."""
    if request.param == "users":
        server: RedisServer = request.getfixturevalue("users_server")
        with server.client(username=ADMIN, password=ADMIN_PASSWORD) as client:
            client.flushall(asynchronous=True)
        async with store_by_role(server) as store:
            yield store
        return
    url: str = request.getfixturevalue(f"{request.param}_url")
    with redis.Redis.from_url(url.replace("redis+cluster", "redis")) as client:
        client.flushall(asynchronous=True)
    async with open_store(url) as store:
        yield store


@pytest.fixture
async def gateway(world: World) -> NumberedGateway:
    """A gateway that has joined the pool and holds nothing."""
    joined = NumberedGateway(world)
    assert await joined.join() == [b"ok"]
    return joined


def virtual_world() -> World:
    """A world in virtual time; its pool has yet to begin."""
    store = VirtualStore(now_ms=1_700_000_000_000)

    async def move(_world: World, ms: int) -> None:
        store.now_ms += ms

    return World(store, move, real=False)


async def _write_back(world: World, ms: int) -> None:
    """A server's clock cannot be moved, but the note of when it was last looked at can."""
    head = await world.head()
    await world.store.command("SET", world.keys.head, f"{head.epoch} {head.last_ms - ms} {head.pool_ms} {head.version}")
