"""A master, its replica and three Sentinels that watch them, as real processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import redis
from redis.sentinel import Sentinel

from tests.polling import until_now
from tests.ports import HOST, free_ports
from tests.servers import RedisServer, Watch, redis_server, replica_server, watching_sentinel

SERVICE = "forebay"
WATCH = Watch(SERVICE, quorum=2, down_after_ms=500, failover_timeout_ms=1_000)
SLOW = {"INFO-PERIOD": 500, "PING-PERIOD": 300, "ASK-PERIOD": 200, "SLAVE-RECONF-TIMEOUT": 1_000}
"""Milliseconds; a few times faster than Sentinel's own. It makes an old master a replica after four PUBLISH-PERIODs."""
FAST = {**SLOW, "PUBLISH-PERIOD": 500}
ANOTHER_S_PASSWORD = "a password that the master does not have"


class SentinelTrio:
    """`servers` are the master and the replica, whichever is which now."""

    def __init__(self, servers: tuple[RedisServer, RedisServer], sentinels: list[RedisServer]) -> None:
        self.servers, self.sentinels = servers, sentinels
        self._asked = Sentinel([(HOST, each.port) for each in sentinels], socket_timeout=1)  # type: ignore[no-untyped-call]
        self.client: redis.Redis = self._asked.master_for(SERVICE, socket_timeout=5)  # type: ignore[no-untyped-call]
        """Of whichever is the master."""

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(each.address for each in self.sentinels)}/{SERVICE}"

    @property
    def master(self) -> RedisServer:
        """As the Sentinels agree; waits until they do."""
        return self._server(self._agreed_port())

    @property
    def replica(self) -> RedisServer:
        master = self.master
        return next(each for each in self.servers if each is not master)

    def let_the_replica_fall_behind(self) -> None:
        """It hears nothing more of its master, though the Sentinels think well of it for some seconds."""
        replica = self.replica
        with replica.client() as client, self.master.client() as master:
            client.config_set("masterauth", ANOTHER_S_PASSWORD)
            master.execute_command("CLIENT", "KILL", "TYPE", "replica")
            until_now(lambda: client.info("replication")["master_link_status"] == "down", "the replica hears nothing")

    def fail_over(self) -> None:
        """As an operator may."""
        with self.sentinels[0].client() as client:
            until_now(lambda: _accepts_failover(client), "the Sentinel begins a failover")

    def until_failed_over(self, before: RedisServer) -> None:
        """Waits until all Sentinels have the other server for a master, and it is one."""
        until_now(lambda: self._agreed_port() != before.port, "another master is agreed on")
        with self.master.client() as client:
            until_now(lambda: client.info("replication")["role"] == "master", "it is the master")
            client.config_set("masterauth", "")
        self.client.connection_pool.disconnect()  # to find the master anew

    def until_replica(self, server: RedisServer) -> None:
        """Waits until the server is a replica that has caught up."""
        with server.client() as client:
            until_now(lambda: _has_caught_up(client), "the old master is a replica")

    def close(self) -> None:
        self.client.close()
        for sentinel in self._asked.sentinels:
            sentinel.close()

    def _server(self, port: int) -> RedisServer:
        return next(each for each in self.servers if each.port == port)

    def _agreed_port(self) -> int:
        found: set[int] = set()

        def agree() -> bool:
            found.clear()
            for each in self.sentinels:
                with each.client() as client:
                    found.add(int(client.sentinel_get_master_addr_by_name(SERVICE)[1]))
            return len(found) == 1

        until_now(agree, "the Sentinels agree")
        return found.pop()


def _accepts_failover(client: redis.Redis) -> bool:
    with suppress(redis.ResponseError):  # one is under way, or was a moment ago
        client.execute_command("SENTINEL", "FAILOVER", SERVICE)  # type: ignore[no-untyped-call]
        return True
    return False


def _has_caught_up(client: redis.Redis) -> bool:
    replication = client.info("replication")
    return bool(replication["role"] == "slave" and replication["master_link_status"] == "up")


@contextmanager
def sentinel_trio(folder: Path, pace: Mapping[str, int] = FAST) -> Iterator[SentinelTrio]:
    """All of it at work at that pace: the Sentinels know of each other and of the replica."""
    with ExitStack() as stack:
        master = stack.enter_context(redis_server(folder))
        replica = stack.enter_context(replica_server(folder, master))
        sentinels = [stack.enter_context(_sentinel(folder, master, port, pace)) for port in free_ports(3)]
        for each in sentinels:
            with each.client() as client:
                until_now(lambda client=client: _knows_all(client), "the Sentinels know all")  # type: ignore[misc]
        trio = SentinelTrio((master, replica), sentinels)
        stack.callback(trio.close)
        yield trio


def _knows_all(client: redis.Redis) -> bool:
    known: Any = client.sentinel_master(SERVICE)
    return bool(known["num-slaves"] == 1 and known["num-other-sentinels"] == 2)


@contextmanager
def _sentinel(folder: Path, master: RedisServer, port: int, pace: Mapping[str, int]) -> Iterator[RedisServer]:
    with watching_sentinel(folder, master, WATCH, port) as server:
        with server.client() as client:
            for name, milliseconds in pace.items():
                client.execute_command("SENTINEL", "DEBUG", name, milliseconds)
        yield server
