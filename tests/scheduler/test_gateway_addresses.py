"""Where gateways are reached by each other."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from scheduler.gateway_addresses import TTL_S, GatewayAddresses
from scheduler.keys import gateway_address
from scheduler.store import Store, open_store
from tests.polling import until
from tests.servers import RedisServer


@pytest.fixture
async def store(redis_process: RedisServer) -> AsyncIterator[Store]:
    async with open_store(redis_process.url) as store:
        yield store


async def test_a_gateway_is_found_by_its_life_for_as_long_as_it_lives(store: Store) -> None:
    addresses = GatewayAddresses(store)

    async def is_kept() -> bool:
        return await addresses.find("aa") == ["10.0.0.1:8000", "lb:80"]

    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(addresses.keep("aa", ("10.0.0.1:8000", "lb:80", "lb:80")))
        await until(is_kept, "it is kept")
        assert await addresses.find("bb") == []
        assert 0 < int(await store.command("PTTL", gateway_address("aa"))) <= TTL_S * 1000
        keeping.cancel()


async def test_a_store_that_has_lost_it_is_told_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.gateway_addresses.KEEP_EVERY_S", 0.01)
    addresses = GatewayAddresses(store)

    async def is_kept() -> bool:
        return bool(await addresses.find("aa"))

    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(addresses.keep("aa", ("10.0.0.1:8000",)))
        await until(is_kept, "it is kept")
        await store.command("DEL", gateway_address("aa"))
        await until(is_kept, "it is kept anew")
        keeping.cancel()
