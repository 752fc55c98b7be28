"""Keys and their limits over two real gateways, an agent, a rank and one Redis."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.gateway.gateway_process import START_S, ForebayProcess, forebay_process, warnings_of
from tests.gateway.running import COMPLETIONS
from tests.polling import until, until_now
from tests.servers import RedisServer, needs_redis, redis_server
from tests.simulator.rank_process import running_rank

pytestmark = needs_redis

PATIENT = ("--place-deadline-ms", "5000")
"""What is held here is what is let in, not how soon."""


class Fleet(NamedTuple):
    """Two gateways over one rank."""

    redis: RedisServer
    gateways: list[ForebayProcess]
    folder: Path

    def new_key(self, name: str, *limits: str) -> str:
        """What clients bring; both gateways know it."""
        key = key_command("new", "--name", name, "--redis", self.redis.url, *limits)
        until_now(lambda: all(self.lets_in(gateway, key) for gateway in self.gateways), "the key is known")
        return key

    def lets_in(self, gateway: ForebayProcess, key: str) -> bool:
        models = httpx.get(f"{gateway.url}/v1/models", headers=bearing(key), trust_env=False, timeout=START_S)
        return models.status_code == 200 and bool(models.json()["data"])


def key_command(*words: str) -> str:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("FOREBAY_")}
    command = [sys.executable, "-m", "forebay", "key", *words]
    return subprocess.run(command, env=ours, check=True, capture_output=True, text=True).stdout.strip()


def bearing(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("keys")
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(folder))
        rank = stack.enter_context(running_rank("--speed", "20"))
        about = ("--model", "sim", "--role", "mixed", "--ranks", f"127.0.0.1:{rank.port}")
        agent = stack.enter_context(forebay_process(folder, "agent", "--redis", redis.url, *about))
        options = ("--redis", redis.url, "--redis-keys", *PATIENT)
        gateways = [stack.enter_context(forebay_process(folder, "gateway", *options)) for _ in range(2)]
        for process in (agent, *gateways):
            process.wait_until_ready()
        yield Fleet(redis, gateways, folder)


async def complete(client: httpx.AsyncClient, gateway: ForebayProcess, key: str, **fields: object) -> httpx.Response:
    body = {"model": "sim", "prompt": "hello", "max_tokens": 4} | fields
    return await client.post(gateway.url + COMPLETIONS, json=body, headers=bearing(key))


@asynccontextmanager
async def a_client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        yield client


async def burst(gateways: list[ForebayProcess], key: str, each: int) -> list[httpx.Response]:
    """So many requests to each gateway, all at once."""
    async with a_client() as client:
        asked = [complete(client, gateway, key) for _ in range(each) for gateway in gateways]
        return list(await asyncio.gather(*asked))


async def test_bursts_on_all_gateways_together_stay_within_the_limit(fleet: Fleet) -> None:
    limit = 30
    key = fleet.new_key("burst", "--requests-per-minute", str(limit))
    started_s = time.monotonic()
    answers = []
    for _ in range(3):
        answers += await burst(fleet.gateways, key, 20)
    passed_s = time.monotonic() - started_s
    admitted = [answer for answer in answers if answer.status_code == 200]
    assert {answer.status_code for answer in answers} == {200, 429}
    assert limit <= len(admitted) <= limit + limit * passed_s / 60
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.headers["x-ratelimit-limit-requests"] == str(limit)
    assert 1 <= int(refused.headers["retry-after"]) <= 2


async def test_tokens_that_were_not_used_are_given_back_to_all_gateways(fleet: Fleet) -> None:
    key = fleet.new_key("tokens", "--tokens-per-minute", "300")
    async with a_client() as client:

        async def is_served(number: int) -> bool:
            answer = await complete(client, fleet.gateways[number % 2], key, stop=["e", "a", " "], max_tokens=200)
            return answer.status_code == 200

        for number in range(4):  # any two of which are expected to be more than the limit
            await until(lambda number=number: is_served(number), f"request {number} is served")  # type: ignore[misc]


async def test_what_runs_at_once_is_counted_over_gateways_and_a_killed_ones_share_comes_back(fleet: Fleet) -> None:
    key = fleet.new_key("at-once", "--requests-at-once", "2")
    body = {"model": "sim", "prompt": "x", "max_tokens": 4_000, "stream": True, "ignore_eos": True}
    options = ("--redis", fleet.redis.url, "--redis-keys", *PATIENT)
    with forebay_process(fleet.folder, "gateway", *options) as doomed:
        doomed.wait_until_ready()
        until_now(lambda: fleet.lets_in(doomed, key), "the key is known")
        async with a_client() as client, a_client() as watcher:
            request = client.build_request("POST", doomed.url + COMPLETIONS, json=body, headers=bearing(key))
            streams = [await client.send(request, stream=True) for _ in range(2)]
            assert [stream.status_code for stream in streams] == [200, 200]
            refused = [await complete(watcher, gateway, key) for gateway in (*fleet.gateways, doomed)]
            assert [answer.status_code for answer in refused] == [429] * 3
            assert "2 requests at once" in refused[0].json()["error"]["message"]
            doomed.process.kill()

            async def is_let_in() -> bool:
                return (await complete(watcher, fleet.gateways[0], key)).status_code == 200

            await until(is_let_in, "what the killed gateway ran is over")
            for stream in streams:
                await stream.aclose()


async def test_a_revoked_key_is_refused_by_all(fleet: Fleet) -> None:
    key = fleet.new_key("leaver")
    assert fleet.lets_in(fleet.gateways[0], key)
    key_command("revoke", "leaver", "--redis", fleet.redis.url)
    until_now(lambda: not any(fleet.lets_in(gateway, key) for gateway in fleet.gateways), "it is refused")


def test_what_a_key_may_is_changed_for_all(fleet: Fleet) -> None:
    key = fleet.new_key("changed")
    for model, is_let_in in (("another", False), ("all", True)):
        key_command("set", "changed", "--model", model, "--redis", fleet.redis.url)
        until_now(
            lambda: all(fleet.lets_in(gateway, key) is is_let_in for gateway in fleet.gateways),  # noqa: B023  # at once
            f"it may use {model}",
        )


async def test_no_key_is_in_redis_or_in_a_log(fleet: Fleet) -> None:
    key = fleet.new_key("secret", "--requests-per-minute", "5")
    await burst(fleet.gateways, key, 1)
    with fleet.redis.client() as client:
        names = [bytes(name) for name in client.scan_iter()]
        kept = b"".join(names + [client.dump(name) or b"" for name in names])
    assert b":{limit:secret}:" in kept
    for told in (kept, *(gateway.err.read_bytes() for gateway in fleet.gateways)):
        assert key.encode() not in told
        assert key[3:].encode() not in told


async def test_without_redis_each_gateway_lets_in_its_share_and_the_known_keys_hold(tmp_path: Path) -> None:
    limit = 20
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(tmp_path))
        rank = stack.enter_context(running_rank("--speed", "20"))
        about = ("--model", "sim", "--role", "mixed", "--ranks", f"127.0.0.1:{rank.port}")
        agent = stack.enter_context(forebay_process(tmp_path, "agent", "--redis", redis.url, *about))
        options = ("--redis", redis.url, "--redis-keys", "--place-deadline-ms", "1000")
        gateways = [stack.enter_context(forebay_process(tmp_path, "gateway", *options)) for _ in range(2)]
        for process in (agent, *gateways):
            process.wait_until_ready()
        here = Fleet(redis, gateways, tmp_path)
        key = here.new_key("team", "--requests-per-minute", str(limit))
        until_now(lambda: all(counted(gateway) for gateway in gateways), "all gateways are counted")
        redis.stop()
        started_s = time.monotonic()
        answers = await burst(gateways, key, limit)
        passed_s = time.monotonic() - started_s
        admitted = sum(answer.status_code == 200 for answer in answers)
        assert {answer.status_code for answer in answers} == {200, 429}
        assert limit <= admitted <= limit + limit * passed_s / 60
        redis.restart()
        for gateway in gateways:
            until_now(lambda: is_told(gateway, "over all gateways again"), "it is asked again")  # noqa: B023  # at once
            until_now(lambda: is_told(gateway, "Redis has lost the API keys"), "it is noticed")  # noqa: B023
            assert here.lets_in(gateway, key)


def is_told(gateway: ForebayProcess, text: str) -> bool:
    return any(text in line for line in warnings_of(gateway))


def counted(gateway: ForebayProcess) -> bool:
    page = httpx.get(f"{gateway.url}/metrics", trust_env=False, timeout=START_S).text
    return "forebay_gateway_key_sharers 2.0" in page
