"""A master that is demoted and lives on as a replica, behind a name that leads to the new master from now on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from scheduler.calls import Call
from scheduler.errors import StoreUnavailableError
from scheduler.lua import Script
from scheduler.settings import SchedulerSettings
from scheduler.store import Store, open_store
from tests.forwarder import Forwarder, forwarding
from tests.invariants.real_fleet import real_fleet
from tests.polling import until
from tests.ports import HOST
from tests.servers import RedisServer, redis_server, replica_server

WRITES: dict[str, Callable[[Store, str], Awaitable[object]]] = {
    "a script": lambda store, key: store.run([Call(Script.OPEN, (key,), ("e1",))]),
    "a command": lambda store, key: store.command("SET", key, "value"),
}


class Site:
    """A master and its replica, and a name for the master."""

    def __init__(self, master: RedisServer, replica: RedisServer, name: Forwarder) -> None:
        self.url = f"redis://{HOST}:{name.port}"
        self._master, self._replica, self._name = master, replica, name

    def fail_over(self) -> None:
        with self._replica.client() as promoted, self._master.client() as demoted:
            promoted.execute_command("REPLICAOF", "NO", "ONE")
            demoted.execute_command("REPLICAOF", HOST, self._replica.port)
        self._name.leads_to = self._replica.port


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    with redis_server(tmp_path) as master, replica_server(tmp_path, master) as replica:
        async with forwarding(master.port) as name:
            yield Site(master, replica, name)


@pytest.mark.parametrize("write", WRITES)
async def test_the_new_master_is_found_with_the_next_connection(site: Site, write: str) -> None:
    async with open_store(site.url) as store:
        await WRITES[write](store, "before")
        site.fail_over()
        with pytest.raises(StoreUnavailableError):
            await WRITES[write](store, "meanwhile")
        await WRITES[write](store, "after")


async def test_gateways_and_agents_go_on_with_the_new_master(site: Site) -> None:
    async with real_fleet(site.url, SchedulerSettings()) as fleet:
        for _ in range(20):
            await fleet.place()
        await until(fleet.is_settled, "all is told")
        site.fail_over()
        await until(lambda: any(gateway.degraded for gateway in fleet.gateways), "the failover was noticed")
        await until(fleet.is_settled, "the new master knows all")
        fleet.release(20)
        await until(fleet.is_settled, "all is given back")
