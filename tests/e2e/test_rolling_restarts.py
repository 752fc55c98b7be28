"""Everything is restarted, one piece after another, while clients go on: not one request fails."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from scheduler.admin import RankStatus, Status, status
from scheduler.draining import Selection, drain
from scheduler.messages import RankState
from scheduler.settings import SchedulerSettings
from scheduler.store import open_store
from tests.e2e.restartable import Restartable, ending_all
from tests.e2e.steady_load import SteadyLoad
from tests.e2e.up_process import START_S, forebay
from tests.polling import until
from tests.ports import free_ports
from tests.servers import needs_redis, redis_server

pytestmark = needs_redis

PATIENT = ("--rank-wait-ms", "30000", "--place-deadline-ms", "2000", "--lame-duck-ms", "3000")
"""On a busy machine ranks and clients take their time."""
WAITING = re.compile(r"^forebay_gateway_waiting_for_rank_requests (\S+)$", re.MULTILINE)


class Fleet:
    """A prefill rank and two decode ranks, an agent for each role, and two gateways, by name."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.redis_url = redis_url
        ports = free_ports(5)
        self.ranks = {
            f"127.0.0.1:{port}": role for port, role in zip(ports, ("prefill", "decode", "decode"), strict=False)
        }
        self.urls = [f"http://127.0.0.1:{port}" for port in ports[3:]]
        self._folder, self._processes = folder, dict[str, Restartable]()
        for rank, role in self.ranks.items():
            options = ("--port", rank.rpartition(":")[2], "--role", role, "--speed", "4")
            self._add(rank, "rank", *options)
        for role in ("prefill", "decode"):
            ranks = ",".join(rank for rank, its_role in self.ranks.items() if its_role == role)
            about = ("--model", "sim", "--role", role, "--ranks", ranks, "--node", role)
            self._add(f"{role} agent", "agent", "--redis", redis_url, *about)
        for url in self.urls:
            self._add(url, "gateway", "--redis", redis_url, "--port", url.rpartition(":")[2], *PATIENT)

    def _add(self, name: str, *arguments: str) -> None:
        file_name = name.replace("/", "_").replace(":", "_").replace(" ", "_")
        self._processes[name] = Restartable(self._folder, file_name, *arguments)

    def __getitem__(self, name: str) -> Restartable:
        return self._processes[name]

    @property
    def processes(self) -> list[Restartable]:
        return list(self._processes.values())

    async def begin(self) -> None:
        for process in self.processes:
            process.begin()
        for process in self.processes:
            await process.ready()
        await self.until_all_are_up()
        async with httpx.AsyncClient(trust_env=False, timeout=START_S) as client:

            async def knows(url: str) -> bool:
                return bool((await client.get(f"{url}/v1/models")).json()["data"])

            for url in self.urls:
                await until(lambda: knows(url), f"{url} knows the model", within_s=START_S)  # noqa: B023 - awaited here

    async def status(self) -> Status:
        async with open_store(self.redis_url) as store:
            return await status(store, SchedulerSettings())

    async def until_all_are_up(self, *, but: str = "") -> None:
        """Every rank, none of them in the life called `but`."""

        def is_up(rank: RankStatus) -> bool:
            return rank.state is RankState.UP and not rank.drained and rank.incarnation != but

        async def all_up() -> bool:
            ranks = (await self.status()).ranks
            return len(ranks) == len(self.ranks) and all(map(is_up, ranks))

        await until(all_up, "all ranks are up", within_s=START_S, pause_s=0.05)

    async def some_wait_for_a_rank(self) -> bool:
        """Whether requests do, at any gateway."""
        async with httpx.AsyncClient(trust_env=False, timeout=START_S) as client:
            pages = [(await client.get(f"{url}/metrics")).text for url in self.urls]
        return any(float(count) for page in pages for count in WAITING.findall(page))

    async def end(self, name: str) -> None:
        self[name].tell_to_end()
        await self[name].ended()

    async def begin_again(self, name: str) -> None:
        self[name].begin()
        await self[name].ready()

    async def restart_rank(self, rank: str) -> None:
        done = await asyncio.to_thread(forebay, "drain", rank, "--wait", "--timeout-s", "60", "--redis", self.redis_url)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"{rank} is empty: it may be stopped" in done.stdout
        (former,) = [known.incarnation for known in (await self.status()).ranks if known.rank == rank]
        await self.end(rank)
        await self.begin_again(rank)
        async with open_store(self.redis_url) as store:
            await drain(store, Selection(rank=rank), SchedulerSettings(), undo=True)
        await self.until_all_are_up(but=former)

    async def restart_agent(self, role: str) -> None:
        await self.end(f"{role} agent")
        if role == "decode":
            await until(self.some_wait_for_a_rank, "requests wait while no decode rank has an agent")
        await self.begin_again(f"{role} agent")
        await self.until_all_are_up()

    async def restart_gateway(self, url: str, load: SteadyLoad) -> None:
        """Clients are sent to it until it says that it ends."""
        self[url].tell_to_end()
        async with httpx.AsyncClient(trust_env=False, timeout=START_S) as client:

            async def is_lame() -> bool:
                return (await client.get(f"{url}/readyz")).status_code == 503

            await until(is_lame, "it says that it ends")
        load.urls = [each for each in self.urls if each != url]
        await self[url].ended()
        self[url].begin()
        await self[url].ready()
        load.urls = self.urls


@asynccontextmanager
async def under_load(fleet: Fleet) -> AsyncIterator[SteadyLoad]:
    load = SteadyLoad(fleet.urls)
    await load.learn(f"http://{next(iter(fleet.ranks))}")
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(load.run(), name="load")
        yield load
        sending.cancel()


async def test_everything_is_restarted_and_no_request_fails(tmp_path: Path) -> None:
    with redis_server(tmp_path) as redis:
        fleet = Fleet(tmp_path, redis.url)
        with ending_all(fleet.processes):
            await fleet.begin()
            async with under_load(fleet) as load:
                for rank in fleet.ranks:
                    await fleet.restart_rank(rank)
                for role in ("prefill", "decode"):
                    await fleet.restart_agent(role)
                for url in fleet.urls:
                    await fleet.restart_gateway(url, load)
                restarted = load.answered
                await until(lambda: load.answered > restarted + 8, "clients went on after the last restart")
            assert load.failures == []
            assert load.answered > 60
            assert {process.lives for process in fleet.processes} == {2}

            async def nothing_is_held() -> bool:
                return (await fleet.status()).reservations == 0

            await until(nothing_is_held, "nothing is held")
