"""Redis under a fleet: one alone, whose disk, clock and memory can fail, or a Sentinel trio with a replica."""

from __future__ import annotations

import asyncio
import resource
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import redis.asyncio as redis
from redis.exceptions import RedisError

from tests.chaos.faketime import variables
from tests.chaos.processes import Running
from tests.polling import until
from tests.ports import HOST
from tests.servers import BINARY, Watch

SERVICE: Final = "forebay"
WATCH: Final = Watch(SERVICE, quorum=2, down_after_ms=1_500, failover_timeout_ms=1_000)
FAILOVER_WITHIN_S: Final = 30.0
LAG_S: Final = 0.5
"""So much of the master's last life a replica that is stopped before it dies does not know."""


async def answer(port: int, *command: str) -> Any:
    """What a server on this machine answers to one command, None if nothing."""
    client = redis.Redis(host=HOST, port=port, socket_timeout=1.0, socket_connect_timeout=1.0)
    try:
        return await client.execute_command(*command)  # type: ignore[no-untyped-call]
    except (RedisError, OSError, TimeoutError):
        return None
    finally:
        await client.aclose()


def redis_process(
    name: str, port: int, folder: Path, *options: str, environment: dict[str, str] | None = None
) -> Running:
    """A redis-server that keeps its files in a folder of its own."""
    data = folder / name
    data.mkdir(exist_ok=True)

    async def answers() -> bool:
        return await answer(port, "PING") is not None

    command = [
        *(BINARY or "redis-server", *options, "--port", str(port), "--bind", HOST, "--save", "", "--daemonize", "no"),
        *("--dir", str(data), "--maxmemory-policy", "noeviction", "--repl-diskless-sync-delay", "0"),
    ]
    return Running(name, command, folder, is_ready=answers, variables=environment, ignores_xfsz=True)


class StoreAlone:
    """One redis-server with an append-only file and, where libfaketime is, a clock that can be set."""

    PORTS = 1

    def __init__(self, folder: Path, ports: Sequence[int]) -> None:
        (self.port,) = ports
        self._data, self._clock = folder / "redis", folder / "clock"
        self._clock.write_text("+0")
        options = ("--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0")
        self.process = redis_process("redis", self.port, folder, *options, environment=variables(self._clock))

    @property
    def processes(self) -> list[Running]:
        """All of it."""
        return [self.process]

    async def start(self) -> None:
        """Serves when this returns."""
        self.process.start()
        await self.process.ready()

    async def master_port(self) -> int:
        """Where the ledger is now."""
        return self.port

    def forget(self) -> None:
        """What it had written down is gone."""
        shutil.rmtree(self._data, ignore_errors=True)
        self._data.mkdir()

    def set_clock(self, offset_s: int) -> None:
        """Its wall clock is so far from ours, within a second."""
        self._clock.write_text(f"{offset_s:+d}")

    def set_disk_full(self, *, full: bool) -> None:
        """Its files grow no more, or again."""
        limit = 1 if full else resource.RLIM_INFINITY
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


class StoreTrio:
    """A master, a replica, and three Sentinels of which two agree on a failover."""

    PORTS = 5

    def __init__(self, folder: Path, ports: Sequence[int]) -> None:
        self.data_ports, self.sentinel_ports = ports[:2], ports[2:]
        self._folder = folder
        self._servers = {port: redis_process(f"redis-{port}", port, folder) for port in self.data_ports}
        self._sentinels = [self._sentinel(port) for port in self.sentinel_ports]

    @property
    def processes(self) -> list[Running]:
        """All of it."""
        return [*self._servers.values(), *self._sentinels]

    @property
    def url(self) -> str:
        """For gateways and agents."""
        return f"redis+sentinel://{','.join(f'{HOST}:{port}' for port in self.sentinel_ports)}/{SERVICE}"

    async def start(self) -> None:
        """Serves, with a replica that the Sentinels know, when this returns."""
        for process in self._servers.values():
            process.start()
            await process.ready()
        await answer(self.data_ports[1], "REPLICAOF", HOST, str(self.data_ports[0]))
        await self._in_step(self.data_ports[1])
        for process in self._sentinels:
            process.start()
            await process.ready()
        await until(self._replica_known, "the Sentinels know the replica", pause_s=0.05)

    async def master_port(self) -> int:
        """Where the ledger is, by the first Sentinel's word."""
        found = await answer(self.sentinel_ports[0], "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return int(found[1]) if found else self.data_ports[0]

    async def fail_over(self) -> tuple[int, int]:
        """The master dies with something its replica has not heard; returns the ports of the old one and the new."""
        old = await self.master_port()
        (new,) = (port for port in self.data_ports if port != old)
        self._servers[new].signal(signal.SIGSTOP)
        await asyncio.sleep(LAG_S)
        self._servers[old].kill()
        self._servers[new].signal(signal.SIGCONT)

        async def moved() -> bool:
            role = await answer(new, "ROLE")
            return await self.master_port() == new and bool(role) and role[0] == b"master"

        await until(moved, "the Sentinels promote the replica", within_s=FAILOVER_WITHIN_S, pause_s=0.05)
        return old, new

    async def rejoin(self, old: int, new: int) -> None:
        """The one that died comes back, as the replica."""
        process = self._servers[old]
        shutil.rmtree(self._folder / process.name, ignore_errors=True)
        (self._folder / process.name).mkdir()
        process.start()
        await process.ready()
        await answer(old, "REPLICAOF", HOST, str(new))
        await self._in_step(old)
        await until(self._replica_known, "the Sentinels know the replica", within_s=FAILOVER_WITHIN_S, pause_s=0.05)

    async def _in_step(self, port: int) -> None:
        async def up() -> bool:
            role: Sequence[Any] = await answer(port, "ROLE") or (b"",)
            return bool(role[0] == b"slave" and role[3] == b"connected")

        await until(up, f"the replica on {port} has caught up", pause_s=0.05)

    async def _replica_known(self) -> bool:
        """Also that it is well: Sentinels promote none they believe down."""
        for port in self.sentinel_ports:
            replicas = await answer(port, "SENTINEL", "REPLICAS", SERVICE) or []
            facts = [
                dict(zip(each[::2], each[1::2], strict=True)) if isinstance(each, list) else each for each in replicas
            ]
            flags = [each.get(b"flags") or each.get("flags") for each in facts]
            if not any(each in (b"slave", "slave") for each in flags):
                return False
        return True

    def _sentinel(self, port: int) -> Running:
        config = self._folder / f"sentinel-{port}.conf"
        config.write_text(WATCH.config(self.data_ports[0]))
        return redis_process(f"sentinel-{port}", port, self._folder, str(config), "--sentinel")
