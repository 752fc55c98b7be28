"""A fleet of real processes on this machine, with a link that can go wrong before each rank and each use of Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import httpx

from scheduler.admin import Status, status
from scheduler.errors import StoreRejectedError, StoreUnavailableError
from scheduler.messages import RankState
from scheduler.settings import SchedulerSettings
from scheduler.store import open_store
from tests.chaos.partitions import Means
from tests.chaos.processes import Running, forebay
from tests.chaos.settings import MODEL, ChaosSettings, Stage
from tests.chaos.store_side import StoreAlone, StoreTrio
from tests.link import Link, link
from tests.namespace import Namespace, namespace
from tests.polling import until
from tests.ports import HOST, free_ports

LOOK_S: Final = 2.0
LAME_DUCK_S: Final = 0.9
"""A gateway told to end takes connections for a second more."""
GATEWAY: Final = (
    *("--connect-ms", "1000", "--first-byte-ms", "6000", "--prefill-ms", "6000", "--idle-ms", "8000"),
    *("--drain-s", "30", "--explain"),
)
AGENT: Final = ("--stall-ms", "2000", "--probe-timeout-ms", "1000")


class Fleet:
    """Made by `fleet`. Parts are known by their numbers; rank n is behind link n, agents have them in order."""

    def __init__(
        self, folder: Path, stage: Stage, settings: ChaosSettings, place: Callable[[], Namespace | None] = lambda: None
    ) -> None:
        self.folder, self.stage, self.settings, self._place = folder, stage, settings, place
        theirs = bool(settings.against)
        agents, gateways = (0, 0) if theirs else (settings.agents, settings.gateways)
        kind = StoreTrio if stage.store == "sentinel" else StoreAlone
        # All at once: nobody listens yet on what was found free before.
        free = iter(free_ports(kind.PORTS + 3 * settings.ranks + 2 * gateways + agents))
        self.store: StoreTrio | StoreAlone = kind(folder, [next(free) for _ in range(kind.PORTS)])
        self.rank_ports = [next(free) for _ in range(settings.ranks)]
        own = [next(free) for _ in range(settings.ranks)]
        ports = [settings.ranks_port + n for n in range(settings.ranks)] if settings.ranks_port else own
        self.rank_links = [Link(to, port, place()) for to, port in zip(self.rank_ports, ports, strict=True)]
        self._kv_ports = [next(free) for _ in range(settings.ranks)]
        self._kv_links = {n: self._kv_link(n) for n in range(settings.ranks) if self._is_asked_for_kv_from_afar(n)}
        self.gateway_ports = [next(free) for _ in range(gateways)]
        self.gateway_links = [self._store_link(next(free)) for _ in range(gateways)]
        self.agent_links = [self._store_link(next(free)) for _ in range(agents)]
        self.ranks = [self._rank(n) for n in range(settings.ranks)]
        self.agents = [self._agent(n) for n in range(agents)]
        self.gateways = [self._gateway(n) for n in range(gateways)]

    @property
    def processes(self) -> list[Running]:
        """All of them, in the order in which they are started."""
        store = self.store.processes if self.gateways else []
        return [*store, *self.ranks, *self.agents, *self.gateways]

    @property
    def links(self) -> list[Link]:
        """All links that there are."""
        made = (*self.rank_links, *self._kv_links.values(), *self.gateway_links, *self.agent_links)
        return [each for each in made if each.leads_to]

    def doors(self, rank: int) -> list[Link]:
        """All links that lead to a rank."""
        return [self.rank_links[rank], *([self._kv_links[rank]] if rank in self._kv_links else [])]

    def role(self, rank: int) -> str:
        """Of pairs the first half of the ranks prefills."""
        if self.stage.ranks == "mixed":
            return "mixed"
        return "prefill" if rank < self.settings.ranks // 2 else "decode"

    def is_excused(self, gateway: int, sent_s: float, ended_s: float, status_seen: int) -> bool:
        """Whether a client of this gateway could get no answer between these times: dead, ending or not ready."""
        life = next((each for each in reversed(self.gateways[gateway].lives) if each.begin_s <= sent_s), None)
        if life is None or sent_s > life.end_s + LAME_DUCK_S:
            return True
        if life.in_order:
            return not status_seen and ended_s >= life.end_s + LAME_DUCK_S
        return ended_s >= life.end_s

    async def status(self) -> Status | None:
        """What `forebay status --json` says, by way of no link; None while Redis does not answer."""
        try:
            async with asyncio.timeout(2.0), open_store(f"redis://{HOST}:{await self.store.master_port()}") as store:
                return await status(store, SchedulerSettings())
        except (StoreUnavailableError, StoreRejectedError, TimeoutError):
            return None

    async def all_up(self) -> bool:
        """Whether every rank can be placed on."""
        found = await self.status()
        return found is not None and sum(rank.state == RankState.UP for rank in found.ranks) == len(self.ranks)

    async def all_known(self) -> bool:
        """Whether every gateway has read of every rank."""
        pages = await asyncio.gather(*(self.metrics(number) for number in range(len(self.gateways))))
        return all(page.count("forebay_gateway_rank_left_out{") == len(self.ranks) for page in pages)

    async def metrics(self, gateway: int) -> str:
        """The page of a gateway, empty if it does not answer."""
        return await get_text(self.gateway_ports[gateway], "/metrics")

    async def served(self, rank: int) -> int:
        """How many requests a rank has served in this life."""
        async with _client() as client:
            answer = await client.get(f"http://{HOST}:{self.rank_ports[rank]}/sim/state")
            return int(answer.json()["served"])

    async def fault(self, rank: int, **fault: object) -> None:
        """Tells a rank how to misbehave."""
        async with _client() as client:
            answer = await client.post(f"http://{HOST}:{self.rank_ports[rank]}/sim/fault", json=fault)
            answer.raise_for_status()

    async def start(self) -> None:
        """Everything runs and every rank is known when this returns."""
        if self.gateways:
            await self.store.start()
        await _start(self.ranks)
        await _start(self.agents)
        await _start(self.gateways)
        if self.gateways:
            await until(self.all_up, "all ranks are up", within_s=60.0, pause_s=0.1)
            await until(self.all_known, "every gateway knows all ranks", pause_s=0.1)

    def _is_asked_for_kv_from_afar(self, rank: int) -> bool:
        """Gateways have its KV fetched where they reach it, if that is another host than the decode rank's."""
        return self.role(rank) == "prefill" and self.rank_links[rank].namespace is not None

    def _kv_link(self, rank: int) -> Link:
        port = self._kv_ports[rank]
        return Link(port, port, self.rank_links[rank].namespace, greets=True)

    def _store_link(self, port: int) -> Link:
        return Link(self.store.port, port, self._place()) if isinstance(self.store, StoreAlone) else Link(0, port)

    def _store_url(self, via: Link) -> str:
        return f"redis://{via.host}:{via.port}/0" if isinstance(self.store, StoreAlone) else self.store.url

    def _rank(self, number: int) -> Running:
        words = ["--port", str(self.rank_ports[number]), "--role", self.role(number), "--model", MODEL]
        words += ["--side-channel-port", str(self._kv_ports[number]), "--speed", str(self.stage.speed)]
        return Running(f"rank-{number}", forebay("--log-level", "warning", "rank", *words), self.folder)

    def _agent(self, number: int) -> Running:
        each = self.settings.ranks // self.settings.agents
        ranks = range(number * each, (number + 1) * each)
        where = ",".join(f"{self.rank_links[rank].host}:{self.rank_links[rank].port}" for rank in ranks)
        words = ("--model", MODEL, "--role", self.role(ranks[0]), "--node", f"node-{number}", "--ranks", where)
        url = self._store_url(self.agent_links[number])
        return Running(f"agent-{number}", forebay("agent", "--redis", url, *words, *AGENT), self.folder)

    def _gateway(self, number: int) -> Running:
        url = self._store_url(self.gateway_links[number])
        words = ("--redis", url, "--port", str(self.gateway_ports[number]))
        return Running(f"gateway-{number}", forebay("gateway", *words, *GATEWAY), self.folder)


@asynccontextmanager
async def fleet(folder: Path, stage: Stage, settings: ChaosSettings, means: Means) -> AsyncIterator[Fleet]:
    """A fleet that serves, ended when the block is left, however it is."""
    async with AsyncExitStack() as stack:

        def place() -> Namespace | None:
            return stack.enter_context(namespace()) if means == "namespaces" else None

        made = Fleet(folder, stage, settings, place)
        for each in made.links:
            await stack.enter_async_context(link(each))
        try:
            await made.start()
            yield made
        finally:
            for process in reversed(made.processes):
                process.kill()


async def _start(processes: Sequence[Running]) -> None:
    for process in processes:
        process.start()
    for process in processes:
        await process.ready()


def _client() -> httpx.AsyncClient:
    # What checks certificates takes long to make, and nobody here has any.
    return httpx.AsyncClient(trust_env=False, verify=False, timeout=LOOK_S)


async def get_text(port: int, path: str) -> str:
    """The body of a GET on this machine, empty if there is none in time."""
    try:
        async with _client() as client:
            return (await client.get(f"http://{HOST}:{port}{path}")).text
    except httpx.HTTPError:
        return ""


def now_s() -> float:
    """The clock of all times in a run."""
    return time.monotonic()
