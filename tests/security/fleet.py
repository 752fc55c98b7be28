"""A fleet as docs/security.md has one, of real processes: users and TLS for Redis, TLS for ranks and gateway, keys."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
from click.testing import CliRunner, Result

from forebay.main import main
from scheduler.rights import ProcessRole
from tests.certificates import Authority
from tests.polling import until_now
from tests.ports import HOST, free_port, free_ports
from tests.redis_users import ADMIN, ADMIN_PASSWORD, password_of, redis_with_users
from tests.servers import RedisServer

START_S = 60.0
API_KEY, ADMIN_KEY, RANK_KEY = "fb-key-of-a-client", "fb-key-of-the-admin", "key-of-the-ranks"
ROLES = {"prefill": 1, "decode": 1, "mixed": 1}


class Fleet:
    """`texts` is all that the processes have said; `client` is one of the gateway's."""

    def __init__(self, folder: Path, redis: RedisServer, redis_port: int, authority: Authority) -> None:
        self.folder, self.redis, self.authority = folder, redis, authority
        self._redis_port = redis_port
        self.gateway_port = free_port()
        self.ranks = dict(zip(ROLES, free_ports(len(ROLES)), strict=True))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def redis_url(self, role: ProcessRole) -> str:
        login = f"{role}:{password_of(role)}"
        return f"rediss://{login}@{HOST}:{self._redis_port}?ssl_ca_certs={self.authority.ca}"

    def start(self, name: str, *arguments: str, **variables: str) -> None:
        """A `forebay` command that logs all there is."""
        ours = {key: value for key, value in os.environ.items() if not key.startswith("FOREBAY_")}
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "forebay", *arguments],
                env=ours | {"FOREBAY_LOG_LEVEL": "debug"} | variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def run(self, *arguments: str, role: ProcessRole = ProcessRole.OPERATOR) -> Result:
        """A command to its end; it is not run as a process, which takes seconds."""
        ours: dict[str, str | None] = {key: None for key in os.environ if key.startswith("FOREBAY_")}
        return CliRunner().invoke(main, arguments, env=ours | {"FOREBAY_REDIS": self.redis_url(role)})

    def process(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The same as a process."""
        ours = {key: value for key, value in os.environ.items() if not key.startswith("FOREBAY_")}
        command = [sys.executable, "-m", "forebay", "--log-level", "debug", *arguments]
        return subprocess.run(command, env=ours, capture_output=True, text=True, timeout=START_S, check=False)

    def client(self, key: str = API_KEY) -> httpx.Client:
        return httpx.Client(
            base_url=f"https://{HOST}:{self.gateway_port}",
            headers={"authorization": f"Bearer {key}"},
            verify=ssl.create_default_context(cafile=str(self.authority.ca)),
            trust_env=False,
            timeout=START_S,
        )

    def admin_of_redis(self) -> Any:
        return self.redis.client(username=ADMIN, password=ADMIN_PASSWORD)


@contextmanager
def secured_fleet(folder: Path) -> Iterator[Fleet]:
    """All of it, when the gateway has a rank of each role."""
    authority = Authority(folder / "tls")
    server, port = authority.signs("redis"), free_port()
    tls = ("--tls-port", str(port), "--tls-cert-file", str(server.cert), "--tls-key-file", str(server.key))
    with ExitStack() as stack:
        options = (*tls, "--tls-ca-cert-file", str(authority.ca), "--tls-auth-clients", "no")
        redis = stack.enter_context(redis_with_users(folder, ["sim"], *options))
        fleet = Fleet(folder, redis, port, authority)
        stack.callback(_end, fleet)
        _start(fleet)
        until_now(lambda: _serves(fleet), "the fleet serves", within_s=START_S, pause_s=0.05)
        yield fleet


def _start(fleet: Fleet) -> None:
    rank, own = fleet.authority.signs("rank"), fleet.authority.signs("gateway")
    shown = ("--rank-ca", str(fleet.authority.ca), "--rank-cert", str(own.cert), "--rank-key", str(own.key))
    key_file = fleet.folder / "rank.key"
    key_file.write_text(f"{RANK_KEY}\n")
    key_file.chmod(0o600)
    for role, port in fleet.ranks.items():
        listen = ("--port", str(port), "--role", role, "--speed", "20", "--strict")
        asks = ("--tls-client-ca", str(fleet.authority.ca))
        fleet.start(f"rank-{role}", "rank", *listen, "--tls-cert", str(rank.cert), "--tls-key", str(rank.key), *asks)
        ranks = ("--ranks", f"https://{HOST}:{port}", "--role", role, "--model", "sim", "--node", f"n-{role}")
        agent = ("agent", *ranks, *shown, "--rank-api-key-file", str(key_file), "--warmup", "1")
        fleet.start(f"agent-{role}", *agent, FOREBAY_REDIS=fleet.redis_url(ProcessRole.AGENT))
    fleet.start(
        "gateway",
        *("gateway", "--port", str(fleet.gateway_port), "--workers", "2", "--explain", "--receipt-share", "1"),
        *("--tls-cert", str(own.cert), "--tls-key", str(own.key), *shown, "--allow-ranks", "127.0.0.0/8"),
        *("--rank-api-key-file", str(key_file), "--rank-wait-ms", "500"),
        FOREBAY_REDIS=fleet.redis_url(ProcessRole.GATEWAY),
        FOREBAY_API_KEY=API_KEY,
        FOREBAY_ADMIN_KEY=ADMIN_KEY,
    )


def _serves(fleet: Fleet) -> bool:
    for name, process in fleet.processes.items():
        assert process.poll() is None, f"{name}: {fleet.said(name)}"
    if "workers on https://" not in fleet.said("gateway"):
        return False
    with fleet.admin_of_redis() as redis:
        return bool(redis.hlen("forebay:1:{sim}:card") == len(ROLES))


def _end(fleet: Fleet) -> None:
    for process in fleet.processes.values():
        process.terminate()
    for process in fleet.processes.values():
        try:
            process.wait(START_S)
        finally:
            process.kill()
