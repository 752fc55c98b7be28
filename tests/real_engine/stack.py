"""Forebay before the engines: Redis, an agent per engine, two gateways, all as real processes."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx

from forebay.ports import LOOPBACK, free_ports
from scheduler import calls
from scheduler.admin import Status, status
from scheduler.errors import StoreUnavailableError
from scheduler.keys import PoolKeys
from scheduler.rows import SeenRank
from scheduler.settings import SchedulerSettings
from scheduler.store import Store, open_store
from scheduler.view import Delta, PoolView, fold
from tests.e2e.up_process import FOREBAY, environment
from tests.polling import until_now
from tests.real_engine.engine import ANSWER_S, MAX_NUM_SEQS, Engine
from tests.servers import RedisServer

GATEWAYS = 2
READY_S = 60.0
LOOK_S = 0.1
TRIES = 20

Answer = TypeVar("Answer")


class Stack:
    """The running processes; `gateways` are their URLs."""

    def __init__(self, folder: Path, redis: RedisServer) -> None:
        self._folder = folder
        self._redis = redis
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.gateways: list[str] = []

    def start_agent(self, engine: Engine) -> None:
        command = [
            *("agent", "--redis", self._redis.url, "--model", engine.model, "--role", engine.role),
            *("--ranks", engine.rank, "--max-num-seqs", str(MAX_NUM_SEQS), "--node", f"node-{engine.role}"),
            *("--stat-socket", str(engine.stat_socket)),
        ]
        if engine.role != "mixed":
            command += ["--connector", "nixl"]
        self._start(f"agent-{engine.role}", *command)

    def start_gateways(self) -> None:
        for number, port in enumerate(free_ports(GATEWAYS)):
            # By counts: three engines on a few cores are believed to be fast or slow by chance, and the default policy
            # would leave a prefill server that seems slow out.
            options = ("--port", str(port), "--explain", "--policy", "least_requests")
            self._start(f"gateway-{number}", "gateway", "--redis", self._redis.url, *options)
            self.gateways.append(f"http://{LOOPBACK}:{port}")

    def _start(self, name: str, *command: str) -> None:
        with (self._folder / f"{name}.log").open("wb") as log:
            self._running[name] = subprocess.Popen([*FOREBAY, *command], env=environment(), stdout=log, stderr=log)

    def end(self) -> None:
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            process.wait(READY_S)

    def status(self) -> Status:
        """What `forebay status` shows; not for a running event loop."""
        return asyncio.run(self._ask(lambda store: status(store, SchedulerSettings())))

    def state_of(self, engine: Engine) -> str:
        """What the store says of the engine's health; empty before it was reported."""
        return next((rank.state.value for rank in self.status().ranks if rank.rank == engine.rank), "")

    def wait_for(self, engine: Engine, state: str, within_s: float = READY_S) -> None:
        until_now(
            lambda: self.state_of(engine) == state,
            f"{engine.role} is said to be {state}",
            within_s=within_s,
            pause_s=LOOK_S,
        )

    def wait_until_ready(self, *engines: Engine) -> None:
        """Returns when every rank is up and every gateway serves every model."""
        for engine in engines:
            self.wait_for(engine, "up")
        models = {engine.model for engine in engines}
        for gateway in self.gateways:
            until_now(lambda url=gateway: models <= _models(url), f"{gateway} serves {models}", within_s=READY_S)  # type: ignore[misc]

    def post(self, gateway: str, path: str, body: dict[str, Any]) -> httpx.Response:
        explain = {"x-forebay-explain": "1"}
        return httpx.post(f"{gateway}{path}", json=body, headers=explain, timeout=ANSWER_S, trust_env=False)

    async def published(self, engine: Engine) -> SeenRank | None:
        """What its agent last wrote of the engine into the store."""
        keys = PoolKeys(engine.model)
        (reply,) = await self._ask(lambda store: store.run([calls.snapshot(keys, SchedulerSettings().lease_ms)]))
        if reply[0] == b"closed":
            return None
        ranks = fold(PoolView(), Delta.read(reply))[0].ranks
        return ranks[engine.rank].seen if engine.rank in ranks else None

    async def _ask(self, question: Callable[[Store], Awaitable[Answer]]) -> Answer:
        """The store's answer; asked again while Redis, too, waits for one of the few cores."""
        async with open_store(self._redis.url) as store:
            for _ in range(TRIES):
                with suppress(StoreUnavailableError):
                    return await question(store)
            return await question(store)


def legs_of(answer: httpx.Response) -> str:
    """How a pool of pairs served a request, for the report."""
    return "in two legs" if "x-forebay-prefill" in answer.headers else "by the decode server alone"


def _models(gateway: str) -> set[str]:
    try:
        answer = httpx.get(f"{gateway}/v1/models", trust_env=False)
    except httpx.TransportError:
        return set()
    return {card["id"] for card in answer.json()["data"]} if answer.status_code == 200 else set()


@contextmanager
def running_stack(folder: Path, redis: RedisServer, *engines: Engine) -> Iterator[Stack]:
    """Agents for the engines, which run, and two gateways."""
    stack = Stack(folder, redis)
    try:
        for engine in engines:
            stack.start_agent(engine)
        stack.start_gateways()
        stack.wait_until_ready(*engines)
        yield stack
    finally:
        stack.end()
