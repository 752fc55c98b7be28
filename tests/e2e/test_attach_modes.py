"""Data-parallel ranks that share an endpoint, attached to by real agents and served by a real gateway."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

from scheduler.admin import Status, status
from scheduler.settings import SchedulerSettings
from scheduler.store import open_store
from tests.gateway.gateway_process import ForebayProcess, forebay_process
from tests.gateway.running import COMPLETIONS
from tests.polling import until
from tests.servers import needs_redis, redis_server
from tests.simulator.rank_process import RankProcess, running_rank

pytestmark = needs_redis

REQUESTS = 24
MOST_ROUNDS = 4


class Attached(NamedTuple):
    """A gateway over agents, and what to look at."""

    redis_url: str
    gateway: ForebayProcess

    async def status(self) -> Status:
        async with open_store(self.redis_url) as store:
            return await status(store, SchedulerSettings())

    async def until_up(self, ranks: set[str]) -> None:
        async def up() -> bool:
            return {rank.rank for rank in (await self.status()).ranks if rank.state == "up"} == ranks

        await until(up, f"{len(ranks)} ranks are up")

    async def spread(self) -> Counter[str]:
        """Which ranks served some requests that were sent at once."""

        async def ask(client: httpx.AsyncClient, number: int) -> str:
            body = {"model": "sim", "prompt": f"story {number}", "max_tokens": 20, "ignore_eos": True}
            answer = await client.post(
                self.gateway.url + COMPLETIONS, json=body, headers={"x-forebay-explain": "1"}, timeout=30
            )
            assert answer.status_code == 200, answer.text
            return answer.headers["x-forebay-decode"]

        async with httpx.AsyncClient(trust_env=False) as client:
            return Counter(await asyncio.gather(*(ask(client, number) for number in range(REQUESTS))))


@contextmanager
def attached(folder: Path, *agents: tuple[str, ...]) -> Iterator[Attached]:
    """Agents with these options beside one gateway."""
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(folder))
        for options in agents:
            about = ("--redis", redis.url, "--model", "sim", "--role", "mixed", *options)
            stack.enter_context(forebay_process(folder, "agent", *about))
        gateway = stack.enter_context(forebay_process(folder, "gateway", "--redis", redis.url, "--explain"))
        gateway.wait_until_ready()
        yield Attached(redis.url, gateway)


def served_by_engine(rank: RankProcess) -> dict[str, float]:
    """How many requests each engine of a port has ended by length."""
    series = rank.series("vllm:request_success_total")
    return {labels.split('"')[1]: count for labels, count in series.items() if 'finished_reason="length"' in labels}


async def test_the_engines_of_an_internal_or_hybrid_port_are_ranks_that_the_gateway_chooses(tmp_path: Path) -> None:
    """Two nodes of hybrid load balancing, engines 0 and 1 on one, 2 to 4 on the other; internal is one such node."""
    first = ("--engines", "2", "--first-engine", "0", "--speed", "5")
    second = ("--engines", "3", "--first-engine", "2", "--speed", "5")
    with running_rank(*first) as one, running_rank(*second) as other:
        ports = [f"127.0.0.1:{each.port}" for each in (one, other)]
        agents = [("--ranks", port, "--dp-group", "dp", "--node", port) for port in ports]
        ranks = {f"{ports[0]}#{index}" for index in range(2)} | {f"{ports[1]}#{index}" for index in range(3)}
        with attached(tmp_path, *agents) as fleet:
            await fleet.until_up(ranks)
            used: Counter[str] = Counter()
            for _ in range(MOST_ROUNDS):
                used += await fleet.spread()
                if used.keys() == ranks:
                    break
        assert used.keys() == ranks
        engines = served_by_engine(one) | served_by_engine(other)
        # What the gateway says of each engine is what the engine says: the header names it by its place on its port.
        expected = {str(index): used[f"{ports[0]}#{index}"] for index in range(2)}
        expected |= {str(2 + index): used[f"{ports[1]}#{index}"] for index in range(3)}
        assert engines == expected
