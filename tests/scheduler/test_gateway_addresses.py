"""Where gateways are reached by each other."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from scheduler.errors import StoreUnavailableError
from scheduler.gateway_addresses import TTL_S, GatewayAddresses
from scheduler.keys import gateway_address
from scheduler.store import Store, open_store
from tests.polling import until
from tests.servers import RedisServer, redis_server


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
        assert not await addresses.find("bb")
        assert 0 < int(await store.command("PTTL", gateway_address("aa"))) <= TTL_S * 1000
        keeping.cancel()


async def test_a_store_that_has_lost_it_is_told_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.gateway_addresses.KEEP_EVERY_S", 0.01)
    addresses = GatewayAddresses(store)

    async def is_kept() -> bool:
        return bool(await store.command("EXISTS", gateway_address("aa")))

    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(addresses.keep("aa", ("10.0.0.1:8000",)))
        await until(is_kept, "it is kept")
        await store.command("DEL", gateway_address("aa"))
        await until(is_kept, "it is kept anew")
        keeping.cancel()


async def test_a_store_that_was_away_is_told_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "scheduler.gateway_addresses")
    monkeypatch.setattr("scheduler.gateway_addresses.KEEP_EVERY_S", 3600.0)
    server = RedisServer(tmp_path)
    async with open_store(server.url) as store, asyncio.TaskGroup() as tasks:
        addresses = GatewayAddresses(store)
        keeping = tasks.create_task(addresses.keep("aa", ("10.0.0.1:8000",)))
        await until(lambda: "cannot be told" in caplog.text, "the store is away")
        try:
            server.start()

            async def is_kept() -> bool:
                return bool(await addresses.find("aa"))

            await until(is_kept, "it is kept")
        finally:
            keeping.cancel()
            server.stop()


async def test_what_was_found_is_known_while_the_store_is_away_or_has_lost_it(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with open_store(server.url) as store:
            addresses = GatewayAddresses(store)
            await store.command("SET", gateway_address("aa"), "10.0.0.1:8000")
            assert await addresses.find("aa") == ["10.0.0.1:8000"]
            await store.command("DEL", gateway_address("aa"))
            assert await addresses.find("aa") == ["10.0.0.1:8000"]
            server.stop()
            assert await addresses.find("aa") == ["10.0.0.1:8000"]
            with pytest.raises(StoreUnavailableError):
                await addresses.find("bb")
            server.start()
            await store.command("SET", gateway_address("aa"), "10.0.0.2:8000")
            assert await addresses.find("aa") == ["10.0.0.2:8000"]


async def test_of_many_gateways_the_last_ones_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.gateway_addresses.MOST_FOUND", 2)
    with redis_server(tmp_path) as server:
        async with open_store(server.url) as store:
            addresses = GatewayAddresses(store)
            for life in ("aa", "bb", "aa", "cc"):
                await store.command("SET", gateway_address(life), "10.0.0.1:8000")
                await addresses.find(life)
            server.stop()
            assert await addresses.find("aa")
            assert await addresses.find("cc")
            with pytest.raises(StoreUnavailableError):
                await addresses.find("bb")
