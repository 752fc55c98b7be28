"""Two gateways over strict prefill and decode ranks, with agents and a store, all as real processes."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from random import Random

import anyio
import httpx
import pytest

from tests.gateway.gateway_process import forebay_process
from tests.gateway.hanging_up import send_and_hang_up
from tests.gateway.running import COMPLETIONS, post
from tests.gateway.strict_ranks import is_busy
from tests.gateway.test_with_the_real_scheduler import Fleet
from tests.polling import until
from tests.servers import needs_redis, redis_server
from tests.simulator.oracle import right_text
from tests.simulator.rank_process import running_rank

pytestmark = needs_redis

REQUESTS = 40
CLIENTS = 60
OPTIONS = ("--strict", "--speed", "10", "--kv-lease-ms", "5000")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two prefill ranks, then two decode ranks. Clients hang up, so some KV may wait for the end of its lease."""
    folder = tmp_path_factory.mktemp("pairs")
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(folder))
        ranks, processes = [], []
        for role in ("prefill", "decode"):
            two = [
                stack.enter_context(running_rank("--role", role, *OPTIONS, misuse={"abandoned_kv"})) for _ in range(2)
            ]
            addresses = ",".join(f"127.0.0.1:{rank.port}" for rank in two)
            about = ("--model", "sim", "--role", role, "--ranks", addresses)
            processes.append(stack.enter_context(forebay_process(folder, "agent", "--redis", redis.url, *about)))
            ranks += two
        options = (
            "--redis",
            redis.url,
            "--explain",
            "--admin-key",
            "root",
            "--place-deadline-ms",
            "2000",
        )
        gateways = [stack.enter_context(forebay_process(folder, "gateway", *options)) for _ in range(2)]
        for process in (*processes, *gateways):
            process.wait_until_ready()
        yield Fleet(redis.url, gateways, ranks)


async def until_all_ranks_are_known(fleet: Fleet) -> None:
    async def known() -> bool:
        return len((await fleet.status()).ranks) == len(fleet.ranks)

    await until(known, "all ranks are known")


async def test_every_gateway_serves_over_all_pairs_and_every_text_is_the_models_own(fleet: Fleet) -> None:
    await until_all_ranks_are_known(fleet)
    used: Counter[tuple[str, str]] = Counter()

    async def ask(client: httpx.AsyncClient, number: int) -> None:
        prompt = f"Story {number}: " + "once upon a time " * (100 * (number % 5) + 100)
        body = {"model": "sim", "prompt": prompt, "max_tokens": 20, "ignore_eos": True}
        url = fleet.gateways[number % 2].url + COMPLETIONS
        answer = await client.post(url, json=body, headers={"x-forebay-explain": "1"})
        # A short prompt may be prefilled on the decode rank.
        used[answer.headers.get("x-forebay-prefill", ""), answer.headers["x-forebay-decode"]] += 1
        assert answer.json()["choices"][0]["text"] == right_text(prompt, 20, ignore_eos=True)

    async with httpx.AsyncClient(trust_env=False, timeout=60) as client, asyncio.TaskGroup() as tasks:
        for number in range(REQUESTS):
            tasks.create_task(ask(client, number))
    names = [f"127.0.0.1:{rank.port}" for rank in fleet.ranks]
    assert {prefill for prefill, _ in used if prefill} == set(names[:2])
    assert {decode for _, decode in used} == set(names[2:])
    await until(fleet.nothing_is_held, "nothing is held")


async def test_of_clients_that_hang_up_at_random_moments_no_trace_remains(fleet: Fleet) -> None:
    few_at_a_time = anyio.CapacityLimiter(8)

    async def hang_up(number: int) -> None:
        random = Random(number)
        fields = {"prompt": "x" * random.randrange(1, 20_000), "max_tokens": 500, "stream": random.random() < 0.6}
        async with few_at_a_time:
            raw = post(COMPLETIONS, json.dumps(fields).encode())
            await send_and_hang_up(fleet.gateways[number % 2].port, raw, random, within_s=0.4)

    async with asyncio.TaskGroup() as tasks:
        for number in range(CLIENTS):
            tasks.create_task(hang_up(number))
    await until(fleet.nothing_is_held, "nothing is held")
    await until(lambda: not any(map(is_busy, fleet.ranks)), "no rank has anything left")
