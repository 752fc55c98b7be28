"""Real redis-server processes for tests: on loopback, without persistence, ended by their own pid.

`redis_server`, `replica_server`, `cluster_server` and `sentinel_server` run one each for a `with` block. Where
redis-server is not installed they skip the test and say so; `needs_redis` does the same for one parameter of many.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis

from tests.polling import until_now
from tests.ports import HOST, free_port

SLOTS = 16_384

BINARY = shutil.which("redis-server")
MISSING = "redis-server is not installed"
needs_redis = pytest.mark.skipif(BINARY is None, reason=MISSING)


class RedisServer:
    """One redis-server process that can be stopped, killed, frozen and started again on its port, empty."""

    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self.folder, self._options = folder, options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def url(self) -> str:
        return f"redis://{self.address}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, **login: Any) -> None:
        """Returns when the server answers, to a client with this `login`; skips the test without redis-server."""
        if BINARY is None:
            pytest.skip(MISSING)
        command = [
            *(BINARY, *self._options, "--port", str(self.port), "--bind", HOST, "--save", ""),
            *("--appendonly", "no", "--daemonize", "no", "--dir", str(self.folder)),
            *("--logfile", f"redis-{self.port}.log", "--repl-diskless-sync-delay", "0"),
        ]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        until_now(lambda: self._answers(login), f"redis-server answers on {self.address}")

    def stop(self) -> None:
        """Kills the process, as a machine that dies; does nothing when it is not running."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Ends the process and starts it again, empty."""
        self.stop()
        self.start()

    def client(self, **login: Any) -> redis.Redis:
        """A plain synchronous client, for setting things up and looking at them; the caller closes it."""
        return redis.Redis(HOST, self.port, **login)

    def _answers(self, login: dict[str, Any]) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"redis-server on {self.address} ended: see its log in {self.folder}"
        try:
            with self.client(**login) as client:
                return bool(client.ping())
        except (redis.exceptions.ConnectionError, redis.exceptions.BusyLoadingError):
            return False


@contextmanager
def redis_server(folder: Path, *options: str, **login: Any) -> Iterator[RedisServer]:
    """A running server with more `options` on its command line; `login` lets it be asked whether it runs."""
    server = RedisServer(folder, *options)
    try:
        server.start(**login)
        yield server
    finally:
        server.stop()


@contextmanager
def replica_server(folder: Path, master: RedisServer) -> Iterator[RedisServer]:
    """A running replica that has caught up with its master."""
    with redis_server(folder, "--replicaof", HOST, str(master.port)) as server, server.client() as client:
        until_now(lambda: client.info("replication")["master_link_status"] == "up", "the replica has caught up")
        yield server


@contextmanager
def cluster_server(folder: Path, *options: str) -> Iterator[RedisServer]:
    """A running cluster of one node that has all slots, with more `options` on its command line."""
    port = free_port()
    cluster = ("--cluster-enabled", "yes", "--cluster-config-file", f"nodes-{port}.conf")
    server = RedisServer(folder, *cluster, *options, port=port)
    try:
        server.start()
        with server.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTS", *range(SLOTS))
            until_now(lambda: client.cluster("INFO")["cluster_state"] == "ok", "the cluster serves all slots")
        yield server
    finally:
        server.stop()


class Watch(NamedTuple):
    """How Sentinels watch the master of `service`: how many have to agree that it is down, and how fast they are."""

    service: str
    quorum: int = 1
    down_after_ms: int = 200
    failover_timeout_ms: int = 2_000

    def config(self, master_port: int) -> str:
        """A Sentinel's configuration file."""
        return (
            f"sentinel monitor {self.service} {HOST} {master_port} {self.quorum}\n"
            f"sentinel down-after-milliseconds {self.service} {self.down_after_ms}\n"
            f"sentinel failover-timeout {self.service} {self.failover_timeout_ms}\n"
        )


@contextmanager
def watching_sentinel(
    folder: Path, master: RedisServer, watch: Watch, port: int | None = None
) -> Iterator[RedisServer]:
    """A running Sentinel, which may have found nobody yet."""
    port = port or free_port()
    config = folder / f"sentinel-{port}.conf"
    config.write_text(watch.config(master.port))
    server = RedisServer(folder, str(config), "--sentinel", port=port)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def sentinel_server(folder: Path, master: RedisServer, service: str) -> Iterator[RedisServer]:
    """A running Sentinel that alone decides who is the master of `service`, and has found its replica."""
    with watching_sentinel(folder, master, Watch(service)) as server, server.client() as client:
        until_now(lambda: client.sentinel_master(service)["num-slaves"] == 1, "the Sentinel found the replica")
        yield server
