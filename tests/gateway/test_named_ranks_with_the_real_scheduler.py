"""Ranks that clients choose themselves: by a header, and by a port of each, over real processes."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import httpx
import pytest

from scheduler.admin import drain, status
from scheduler.settings import SchedulerSettings
from scheduler.store import open_store
from tests.gateway.gateway_process import ForebayProcess, forebay_process
from tests.gateway.running import COMPLETIONS
from tests.polling import until, until_now
from tests.ports import free_ports
from tests.servers import needs_redis, redis_server
from tests.simulator.rank_process import running_rank

pytestmark = needs_redis

ASK = {"model": "sim", "prompt": "hello", "max_tokens": 2}


class Managed(NamedTuple):
    """A gateway whose clients choose among two mixed ranks; there is a prefill rank, too."""

    redis_url: str
    gateway: ForebayProcess
    ranks: list[str]
    prefill: str
    ports: list[int]

    async def asked(self, port: int, rank: str = "") -> httpx.Response:
        headers = {"x-forebay-explain": "1"} | ({"x-forebay-rank": rank} if rank else {})
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            return await client.post(f"http://127.0.0.1:{port}{COMPLETIONS}", json=ASK, headers=headers)


@pytest.fixture(scope="module")
def managed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    folder = tmp_path_factory.mktemp("managed")
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(folder))
        roles = {"mixed": 2, "prefill": 1}
        names: dict[str, list[str]] = {}
        for role, count in roles.items():
            running = [stack.enter_context(running_rank("--role", role, "--speed", "10")) for _ in range(count)]
            names[role] = sorted(f"127.0.0.1:{rank.port}" for rank in running)
            about = ("--model", "sim", "--role", role, "--ranks", ",".join(names[role]))
            stack.enter_context(forebay_process(folder, "agent", "--redis", redis.url, *about)).wait_until_ready()
        ports = free_ports(2)
        of_ranks = ",".join(f"{port}={rank}" for port, rank in zip(ports, names["mixed"], strict=True))
        options = ("--redis", redis.url, "--explain", "--pin", "--rank-ports", of_ranks)
        gateway = stack.enter_context(forebay_process(folder, "gateway", *options))
        assert "a port for each of 2 ranks" in gateway.wait_until_ready()
        until_now(lambda: all(healthy(port) for port in ports), "both ranks are known")
        yield Managed(redis.url, gateway, names["mixed"], names["prefill"][0], ports)


def healthy(port: int) -> bool:
    return httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).status_code == 200


async def test_every_request_goes_to_the_rank_it_names(managed: Managed) -> None:
    for rank in (*managed.ranks, *managed.ranks, managed.ranks[0], managed.ranks[0]):
        answer = await managed.asked(managed.gateway.port, rank)
        assert (answer.status_code, answer.headers["x-forebay-decode"]) == (200, rank)


async def test_every_port_of_a_rank_serves_by_that_rank(managed: Managed) -> None:
    for port, rank in zip(managed.ports, managed.ranks, strict=True):
        answers = [await managed.asked(port) for _ in range(3)]
        assert {answer.headers["x-forebay-decode"] for answer in answers} == {rank}
    other = await managed.asked(managed.ports[0], managed.ranks[1])
    assert (other.status_code, other.json()["error"]["param"]) == (400, "x-forebay-rank")


async def test_a_prefill_rank_is_refused_with_the_reason(managed: Managed) -> None:
    refused = await managed.asked(managed.gateway.port, managed.prefill)
    assert refused.status_code == 400
    assert "is a prefill rank" in refused.json()["error"]["message"]


async def test_a_drained_rank_takes_no_request_that_names_it_and_its_port_says_so(managed: Managed) -> None:
    rank, port = managed.ranks[1], managed.ports[1]
    async with open_store(managed.redis_url) as store:
        await drain(store, rank, SchedulerSettings())
        await until(lambda: not healthy(port), "the port of the drained rank is not healthy")
        refused = [await managed.asked(port), await managed.asked(managed.gateway.port, rank)]
        assert healthy(managed.ports[0])
        assert (await managed.asked(managed.ports[0])).status_code == 200
        await drain(store, rank, SchedulerSettings(), undo=True)
        await until(lambda: healthy(port), "the port of the rank is healthy again")
        assert (await status(store, SchedulerSettings())).reservations == 0
    assert [answer.status_code for answer in refused] == [503, 503]
    assert all("is drained" in answer.json()["error"]["message"] for answer in refused)
    assert all("retry-after" in answer.headers for answer in refused)
