"""A store behind Sentinels goes where they lead, though nothing breaks and though some of them do not answer."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from scheduler.store import FOLLOW_S, Store, open_store
from tests.polling import PAUSE_S, until
from tests.sentinel_trio import SLOW, SentinelTrio, sentinel_trio
from tests.servers import RedisServer, needs_redis

pytestmark = needs_redis


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelTrio]:
    with sentinel_trio(tmp_path_factory.mktemp("trio"), SLOW) as running:
        yield running


async def port_of(store: Store) -> int:
    """Of the server that the store asks."""
    _, port = await store.command("CONFIG", "GET", "port")
    return int(port)


@contextmanager
def never_demoted(master: RedisServer) -> Iterator[redis.Redis]:
    """Until the block ends, though Sentinels make an old master a replica after some seconds."""
    with master.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-slaveof", "-replicaof")
        try:
            yield client
        finally:
            client.execute_command("ACL", "SETUSER", "default", "+@all")


async def test_a_master_that_was_replaced_is_left_before_it_is_demoted(trio: SentinelTrio) -> None:
    before = trio.master
    async with open_store(trio.url) as store:
        assert await port_of(store) == before.port
        with never_demoted(before) as client:
            trio.fail_over()
            trio.until_failed_over(before)

            async def has_left() -> bool:
                return await port_of(store) != before.port

            await until(has_left, "the store follows")
            assert client.info("replication")["role"] == "master"


@pytest.mark.parametrize("frozen", [0, 1, 2])
async def test_a_sentinel_that_is_frozen_keeps_nobody_from_the_master(trio: SentinelTrio, frozen: int) -> None:
    master, pid = trio.master, trio.sentinels[frozen].pid
    os.kill(pid, signal.SIGSTOP)
    try:
        async with open_store(trio.url) as store:
            assert await port_of(store) == master.port
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_a_master_is_used_on_while_no_sentinel_answers(trio: SentinelTrio) -> None:
    port, loop = trio.master.port, asyncio.get_running_loop()
    async with open_store(trio.url) as store:
        assert await port_of(store) == port
        for each in trio.sentinels:
            os.kill(each.pid, signal.SIGSTOP)
        try:
            asked_until_s = loop.time() + 2 * FOLLOW_S
            while loop.time() < asked_until_s:
                assert await port_of(store) == port
                await asyncio.sleep(PAUSE_S)
        finally:
            for each in trio.sentinels:
                os.kill(each.pid, signal.SIGCONT)
