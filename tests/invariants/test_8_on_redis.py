"""Invariant 8 on a real Redis: restarted empty, and followed by a replica that had stopped listening before."""

from __future__ import annotations

from pathlib import Path

from scheduler.decision import Place
from scheduler.settings import SchedulerSettings
from tests.invariants.real_fleet import RealFleet, real_fleet
from tests.polling import until, until_now
from tests.ports import HOST
from tests.servers import RedisServer, needs_redis, redis_server, replica_server

pytestmark = needs_redis


async def place(fleet: RealFleet, requests: int) -> None:
    for _ in range(requests):
        assert isinstance(await fleet.place(), Place)


async def test_a_redis_that_restarts_empty_is_rebuilt(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with real_fleet(server.url, SchedulerSettings()) as fleet:
            await place(fleet, 40)
            for _ in range(2):
                server.restart()
                fleet.release(5)
                await place(fleet, 3)
                await until(fleet.is_settled, "all is rebuilt")


async def test_a_redis_that_is_flushed_under_its_gateways_is_rebuilt(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server, server.client() as client:
        async with real_fleet(server.url, SchedulerSettings()) as fleet:
            await place(fleet, 40)
            client.flushall()
            await place(fleet, 10)
            await until(fleet.is_settled, "all is rebuilt")


async def test_a_stale_replica_that_takes_the_masters_place_is_put_right(tmp_path: Path) -> None:
    with redis_server(tmp_path) as master, replica_server(tmp_path, master) as replica:
        async with real_fleet(master.url, SchedulerSettings()) as fleet:
            await place(fleet, 40)
            await until(fleet.is_settled, "all is told")
            with replica.client() as client:
                client.execute_command("REPLICAOF", "NO", "ONE")
            fleet.release(15)
            await place(fleet, 10)
            await until(fleet.is_settled, "the suffix that will be lost was acknowledged")
            take_place_of(master, replica)
            await place(fleet, 5)
            await until(fleet.is_settled, "all is put right")


def take_place_of(master: RedisServer, replica: RedisServer) -> None:
    """The master dies; a server with the replica's data answers where it was."""
    master.restart()
    with master.client() as client:
        client.execute_command("REPLICAOF", HOST, replica.port)
        until_now(lambda: client.info("replication")["master_link_status"] == "up", "it has the replica's data")
        client.execute_command("REPLICAOF", "NO", "ONE")
