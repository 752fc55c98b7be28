"""Strict ranks whose decode ranks call for their prefills, with agents, a store and gateways, all as real processes.

Calls reach other processes than those they are for: the first gateway is two workers on one port, and the second one
has its ranks call that port, as behind one load balancer.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

import anyio
import httpx
import pytest

from tests.e2e.up_process import START_S
from tests.gateway.decode_first import CONNECTOR, DecodeFirstRanks, running_decode_first
from tests.gateway.gateway_process import ForebayProcess, forebay_process
from tests.gateway.hanging_up import send_and_hang_up
from tests.gateway.running import COMPLETIONS, post
from tests.gateway.test_with_the_real_scheduler import Fleet
from tests.polling import until
from tests.servers import needs_redis, redis_server
from tests.simulator.oracle import right_text

pytestmark = needs_redis

REQUESTS = 40
CLIENTS = 40


class Behind(NamedTuple):
    """The fleet, its ranks, and how many calls have become what."""

    fleet: Fleet
    ranks: DecodeFirstRanks

    async def heard(self, number: int) -> dict[str, float]:
        """By the gateway of this number."""
        async with httpx.AsyncClient(trust_env=False, timeout=START_S) as client:
            page = (await client.get(self.fleet.gateways[number].url + "/metrics")).text
        name = 'forebay_gateway_metaserver_calls_total{heard="'
        lines = (line.removeprefix(name) for line in page.splitlines() if line.startswith(name))
        return {what: float(count) for what, _, count in (line.partition('"} ') for line in lines)}


@contextmanager
def gateway(folder: Path, redis_url: str, *options: str) -> Iterator[ForebayProcess]:
    """A gateway that uses pairs wherever there is one."""
    keys = ("--explain", "--admin-key", "root")
    manner = ("--place-deadline-ms", "2000", "--policy", "forebay_pairs")
    with forebay_process(folder, "gateway", "--redis", redis_url, *keys, *manner, *options) as process:
        yield process


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    folder = tmp_path_factory.mktemp("layers")
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(folder))
        ranks = stack.enter_context(running_decode_first(misuse={"never_asked"}))
        processes = []
        for role, some in (("prefill", ranks.prefills), ("decode", ranks.decodes)):
            addresses = ",".join(f"127.0.0.1:{rank.port}" for rank in some)
            about = ("--model", "sim", "--role", role, "--ranks", addresses, "--connector", CONNECTOR)
            processes.append(stack.enter_context(forebay_process(folder, "agent", "--redis", redis.url, *about)))
        first = stack.enter_context(gateway(folder, redis.url, "--workers", "2"))
        at_the_first = ("--advertise", f"127.0.0.1:{first.port}")
        second = stack.enter_context(gateway(folder, redis.url, *at_the_first))
        for process in (*processes, first, second):
            process.wait_until_ready()
        yield Behind(Fleet(redis.url, [first, second], [*ranks.prefills, *ranks.decodes]), ranks)


async def until_all_ranks_are_known(behind: Behind) -> None:
    async def known() -> bool:
        return len((await behind.fleet.status()).ranks) == len(behind.fleet.ranks)

    await until(known, "all ranks are known")


async def ask(client: httpx.AsyncClient, url: str, number: int) -> bool:
    """Have a text completed by the model's own words; whether by a pair."""
    prompt = f"Story {number}: " + "once upon a time " * (20 * (number % 5) + 20)
    body = {"model": "sim", "prompt": prompt, "max_tokens": 20, "ignore_eos": True}
    answer = await client.post(url + COMPLETIONS, json=body, headers={"x-forebay-explain": "1"})
    assert answer.json()["choices"][0]["text"] == right_text(prompt, 20, ignore_eos=True)
    return "x-forebay-prefill" in answer.headers


@pytest.mark.parametrize("number", [0, 1], ids=["workers of one port", "behind another's address"])
async def test_calls_find_their_gateway_wherever_they_arrive(behind: Behind, number: int) -> None:
    await until_all_ranks_are_known(behind)
    url = behind.fleet.gateways[number].url
    async with httpx.AsyncClient(trust_env=False, timeout=START_S) as client, asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(ask(client, url, each)) for each in range(REQUESTS)]
    pairs = sum(task.result() for task in asked)
    assert pairs > REQUESTS / 2
    heard = await behind.heard(number)
    assert heard["taken"] >= pairs
    assert not heard.keys() & {"unknown", "malformed", "lost", "other_child"}
    assert (await behind.heard(0))["passed_on"] > 0
    await until(behind.fleet.nothing_is_held, "nothing is held")


async def test_of_clients_that_hang_up_at_random_moments_no_trace_remains(behind: Behind) -> None:
    await until_all_ranks_are_known(behind)
    few_at_a_time = anyio.CapacityLimiter(8)

    async def hang_up(number: int) -> None:
        random = Random(number)
        fields = {"prompt": "x" * random.randrange(1, 20_000), "max_tokens": 500, "stream": random.random() < 0.6}
        async with few_at_a_time:
            raw = post(COMPLETIONS, json.dumps(fields).encode())
            await send_and_hang_up(behind.fleet.gateways[number % 2].port, raw, random, within_s=0.2)

    async with asyncio.TaskGroup() as tasks:
        for number in range(CLIENTS):
            tasks.create_task(hang_up(number))
    await until(behind.fleet.nothing_is_held, "nothing is held")
    # What a rank has called for, and nobody asks for any more, it holds for a lease: 30 s.
    await until(behind.ranks.are_idle, "no rank has anything left", within_s=60)


async def test_decode_ranks_are_left_when_the_gateway_dies_that_they_have_called(behind: Behind) -> None:
    await until_all_ranks_are_known(behind)
    for rank in behind.ranks.prefills:
        rank.post("/sim/fault", {"kind": "hang", "count": 0})
    gateway, raw = behind.fleet.gateways[1], post(COMPLETIONS, b'{"prompt":"Once upon a time","stream":true}')
    before = (await behind.heard(1)).get("taken", 0)
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(raw)

    async def called() -> bool:
        return (await behind.heard(1)).get("taken", 0) > before

    def left() -> bool:
        return all(rank.state()["in_flight"] == 0 for rank in behind.ranks.decodes)

    await until(called, "a decode rank has called")
    assert not left()
    gateway.process.kill()
    await until(left, "no decode rank has a request")
    writer.close()
