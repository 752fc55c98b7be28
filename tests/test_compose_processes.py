"""Every service of the compose files as the same process on 127.0.0.1: command, environment, health check.

Without redis-server the embedded server plays the `redis` service, and without nginx the balancer is not run;
the report names both as skipped.
"""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from forebay.embedded_redis import EmbeddedRedis
from tests import compose_file
from tests.compose_file import ROOT, Process
from tests.polling import until_now
from tests.ports import free_ports

VARIABLES = {
    "REDIS_PASSWORD": "a-pass-word",
    "FOREBAY_SPEED": "50",
    "NODE_ADDRESS": "vllm-node",
    "FOREBAY_MODEL": "sim",
    "VLLM_PORTS": "9000",
}

INSIDE = {"redis": 6379, "gateway": 8000, "rank-0": 9000, "rank-1": 9000, "vllm-node": 9000, "balancer": 8080}
"""The port each service listens on in its container; `vllm-node` is the host of the override."""

PATIENCE_S = 30.0

eventually = partial(until_now, within_s=PATIENCE_S)


class Stack:
    """The services of the compose files as processes, each with its log in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        names = [*INSIDE, "gateway-2"]
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.running: dict[str, tuple[Process, subprocess.Popen[bytes]]] = {}

    def start(self, name: str, process: Process) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            child = subprocess.Popen(
                process.command, env=self._environment(process), cwd=self.folder, stdout=log, stderr=log
            )
        self.running[name] = (process, child)

    def local(self, service: str, *overrides: str, port_of: str | None = None) -> Process:
        """A service of the files; `port_of` names another entry of `ports` for one more copy of it."""
        services = compose_file.load("compose.yaml", *overrides, variables=VARIABLES)["services"]
        return compose_file.as_process(
            service, services[service], self.listens | self._own(service, port_of), VARIABLES
        )

    @property
    def listens(self) -> dict[str, tuple[int, int]]:
        here = {name: (inside, self.ports[name]) for name, inside in INSIDE.items()}
        # The override's agent is on the host's network and finds Redis where it is published.
        return here | {"127.0.0.1": (INSIDE["redis"], self.ports["redis"])}

    def is_healthy(self, name: str) -> bool:
        """Runs the service's own health check; a service that has ended fails at once, with its log."""
        process, child = self.running[name]
        assert child.poll() is None, f"{name} ended with {child.returncode}:\n{self.log(name)}"
        assert process.health is not None
        check = subprocess.run(process.health, env=self._environment(process), check=False, capture_output=True)
        return check.returncode == 0

    def becomes_healthy(self, name: str) -> None:
        eventually(lambda: self.is_healthy(name), f"{name} is healthy; its log:\n{self.log(name)}")

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def stop(self, name: str) -> int:
        """Sends SIGTERM, as the image's STOPSIGNAL says; returns the exit status."""
        child = self.running.pop(name)[1]
        child.terminate()
        try:
            return child.wait(PATIENCE_S)
        finally:
            child.kill()

    def status(self) -> dict[str, Any]:
        """What `docker compose exec gateway forebay status --json` prints."""
        gateway = self.running["gateway"][0]
        done = subprocess.run(
            [gateway.command[0], "status", "--json"],
            env=self._environment(gateway),
            check=True,
            capture_output=True,
        )
        status: dict[str, Any] = json.loads(done.stdout)
        return status

    def _own(self, service: str, port_of: str | None) -> dict[str, tuple[int, int]]:
        return {} if port_of is None else {service: (INSIDE[service], self.ports[port_of])}

    def _environment(self, process: Process) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), **process.environment}


@contextmanager
def embedded_redis(port: int) -> Iterator[None]:
    """The embedded server in the place of the `redis` service, with its password."""
    server = EmbeddedRedis("127.0.0.1", port)
    thread = threading.Thread(target=server.serve_forever, name="embedded-redis")
    thread.start()
    try:
        with redis.Redis(port=port) as client:
            client.config_set("requirepass", VARIABLES["REDIS_PASSWORD"])
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Redis, two ranks, two gateways and the agent, all healthy, in the order that the file asks for."""
    stack = Stack(tmp_path_factory.mktemp("compose"))
    with ExitStack() as cleanup:
        cleanup.callback(lambda: [stack.stop(name) for name in reversed(list(stack.running))])
        if shutil.which("redis-server"):
            stack.start("redis", stack.local("redis"))
            stack.becomes_healthy("redis")
        else:
            cleanup.enter_context(embedded_redis(stack.ports["redis"]))
        stack.start("gateway", stack.local("gateway"))
        stack.start("gateway-2", stack.local("gateway", port_of="gateway-2"))
        for service in ("rank-0", "rank-1", "agent"):
            stack.start(service, stack.local(service))
        for name in ("rank-0", "rank-1", "gateway", "gateway-2"):
            stack.becomes_healthy(name)
        eventually(lambda: len(stack.status()["ranks"]) == 2, f"both ranks; the agent's log:\n{stack.log('agent')}")
        yield stack


def stream_of(port: int) -> str:
    """A streamed chat completion through the port, put together."""
    with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0) as client:
        chunks = client.chat.completions.create(
            model="sim", messages=[{"role": "user", "content": "Hello"}], max_tokens=16, stream=True
        )
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_the_redis_service_keeps_the_ledger_and_nothing_on_disk(stack: Stack) -> None:
    if "redis" not in stack.running:
        pytest.skip("redis-server is not installed: the embedded server plays the redis service here")
    with redis.Redis(port=stack.ports["redis"], password=VARIABLES["REDIS_PASSWORD"]) as client:
        assert client.config_get("maxmemory*")["maxmemory-policy"] == "volatile-ttl"
        assert client.config_get("maxmemory") == {"maxmemory": str(512 << 20)}
        assert client.config_get("save") == {"save": ""}
        assert client.config_get("appendonly") == {"appendonly": "no"}
    no_retry = Retry(NoBackoff(), 0)
    with redis.Redis(port=stack.ports["redis"], retry=no_retry) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_every_scaled_gateway_serves_the_example_node(stack: Stack) -> None:
    assert stream_of(stack.ports["gateway"])
    assert stream_of(stack.ports["gateway-2"])
    eventually(lambda: stack.status()["reservations"] == 0, "no reservation is left")
    assert len(stack.status()["gateways"]) == 2


def test_the_balancer_streams_from_a_gateway(stack: Stack) -> None:
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed: the balancer service is not run here")
    config = compose_file.move((ROOT / "deploy/nginx.conf").read_text(), "balancer", stack.listens)
    moved = stack.folder / "nginx.conf"
    moved.write_text(config.replace("/tmp/", f"{stack.folder}/"))
    balancer = stack.local("balancer")
    stack.start("balancer", Process([*balancer.command, "-c", str(moved)], balancer.environment, balancer.health))

    def answers() -> bool:
        try:
            return bool(stream_of(stack.ports["balancer"]))
        except openai.APIConnectionError:
            return False

    eventually(answers, f"the balancer answers; its log:\n{stack.log('balancer')}")
    url = f"http://127.0.0.1:{stack.ports['balancer']}/v1/models"
    too_long = httpx.get(url, headers={"x-long": "x" * 70_000}, trust_env=False)
    assert (too_long.status_code, too_long.json()["error"]["code"]) == (431, 431), "a gateway answers, not nginx"
    assert stack.stop("balancer") == 0


def test_the_vllm_override_adds_a_node_beside_the_example(stack: Stack) -> None:
    rank = stack.local("rank-0")
    vllm = rank.environment | {"FOREBAY_PORT": str(stack.ports["vllm-node"])}
    stack.start("vllm", Process(rank.command, vllm, None))
    stack.start("vllm-agent", stack.local("agent", "deploy/compose.vllm.yaml"))
    eventually(lambda: len(stack.status()["ranks"]) == 3, f"a third rank:\n{stack.log('vllm-agent')}")
    assert stack.stop("vllm-agent") == 0
    assert stack.stop("vllm") == 0


def test_every_service_ends_well_on_sigterm_and_its_health_check_notices(stack: Stack) -> None:
    process, _ = stack.running["gateway-2"]
    names = [name for name in reversed(list(stack.running)) if name != "redis"]
    assert {name: stack.stop(name) for name in names} == dict.fromkeys(names, 0)
    assert process.health is not None
    assert subprocess.run(process.health, check=False, capture_output=True).returncode != 0
