"""Gateways, an agent, a store and simulated ranks, all as real processes."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from random import Random
from typing import NamedTuple

import httpx
import pytest
from openai import AsyncOpenAI

from gateway.routes import ROUTES, Kind
from scheduler.admin import Status, drain, status
from scheduler.settings import SchedulerSettings
from scheduler.store import open_store
from tests.gateway.form import FORM_TYPE, field, file, form
from tests.gateway.gateway_process import START_S, ForebayProcess, forebay_process
from tests.gateway.hanging_up import after_an_event, at_once, send_and_hang_up
from tests.gateway.running import CHAT, COMPLETIONS, post
from tests.polling import until, until_now
from tests.servers import needs_redis, redis_server
from tests.simulator.rank_process import RankProcess, running_rank
from tests.sse import events_of

pytestmark = needs_redis

CLIENTS = 200
OFFER = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13", "sec-websocket-key": "YWE="}
MADE_UP = re.compile(
    rb'("(?:id|created|created_at|completed_at|request_id)": ?)(?:"[^"]*"|[0-9.]+)'
    rb"|((?:resp|msg|rs|chatcmpl|cmpl)[_-])[\w-]+"
)


class Fleet(NamedTuple):
    """Two gateways over two ranks."""

    redis_url: str
    gateways: list[ForebayProcess]
    ranks: list[RankProcess]

    async def status(self) -> Status:
        async with open_store(self.redis_url) as store:
            return await status(store, SchedulerSettings())

    async def nothing_is_held(self) -> bool:
        async with httpx.AsyncClient(trust_env=False, headers={"Authorization": "Bearer root"}) as client:
            states = [(await client.get(f"{gateway.url}/admin/state")).json() for gateway in self.gateways]
        held = [state[what] for state in states for what in ("requests", "reservations", "rank_requests_open")]
        return not any(held) and (await self.status()).reservations == 0


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(folder))
        ranks = [stack.enter_context(running_rank("--speed", "10")) for _ in range(2)]
        addresses = ",".join(f"127.0.0.1:{rank.port}" for rank in ranks)
        about = ("--model", "sim", "--role", "mixed", "--ranks", addresses)
        agent = stack.enter_context(forebay_process(folder, "agent", "--redis", redis.url, *about))
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
        for process in (agent, *gateways):
            process.wait_until_ready()
        until_now(lambda: all(map(knows_the_model, gateways)), "the gateways know the model")
        yield Fleet(redis.url, gateways, ranks)


def knows_the_model(gateway: ForebayProcess) -> bool:
    return bool(httpx.get(f"{gateway.url}/v1/models", trust_env=False, timeout=START_S).json()["data"])


@asynccontextmanager
async def clients(fleet: Fleet) -> AsyncIterator[list[AsyncOpenAI]]:
    """An OpenAI client of each gateway."""
    made = [AsyncOpenAI(base_url=f"{one.url}/v1", api_key="none", max_retries=0) for one in fleet.gateways]
    try:
        yield made
    finally:
        for client in made:
            await client.close()


async def test_every_gateway_serves_the_openai_client_over_all_ranks(fleet: Fleet) -> None:
    used: Counter[tuple[str, str]] = Counter()

    async def ask(client: AsyncOpenAI, number: int) -> None:
        answer = await client.chat.completions.with_raw_response.create(
            model="sim",
            messages=[{"role": "user", "content": f"Tell me story {number}"}],
            max_tokens=20,
            extra_headers={"x-forebay-explain": "1"},
            extra_body={"ignore_eos": True},
        )
        used[answer.headers["x-forebay-gateway"], answer.headers["x-forebay-decode"]] += 1
        usage = answer.parse().usage
        assert usage is not None
        assert usage.completion_tokens == 20

    async with clients(fleet) as both, asyncio.TaskGroup() as tasks:
        for number in range(40):
            tasks.create_task(ask(both[number % 2], number))
    assert len({gateway for gateway, _ in used}) == 2
    assert {rank for _, rank in used} == {f"127.0.0.1:{rank.port}" for rank in fleet.ranks}
    await until(fleet.nothing_is_held, "nothing is held")


async def test_a_stream_through_a_gateway_is_the_stream_of_the_rank(fleet: Fleet) -> None:
    body = {
        "model": "sim",
        "prompt": "Once upon a time",
        "max_tokens": 50,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    texts = []
    async with httpx.AsyncClient(trust_env=False) as client:
        for url in (fleet.ranks[0].url, fleet.gateways[0].url, fleet.gateways[1].url):
            response = await client.post(url + COMPLETIONS, json=body)
            *events, last = events_of(response.text)
            assert last["usage"]["completion_tokens"] <= 50
            texts.append("".join(event["choices"][0]["text"] for event in events))
    assert len(set(texts)) == 1


async def test_what_a_rank_refuses_is_told_in_its_words(fleet: Fleet) -> None:
    body = {"model": "sim", "prompt": "x", "temperature": -1}
    async with httpx.AsyncClient(trust_env=False) as client:
        direct = await client.post(fleet.ranks[0].url + COMPLETIONS, json=body)
        through = await client.post(fleet.gateways[0].url + COMPLETIONS, json=body)
    assert (through.status_code, through.content) == (direct.status_code, direct.content)
    assert direct.status_code == 400


def said(answer: httpx.Response) -> bytes:
    """An answer without what is another each time: ids, times and what is drawn by them."""
    return MADE_UP.sub(rb"\1\2", answer.content)


async def test_every_route_is_the_ranks_own_and_holds_nothing_after(fleet: Fleet) -> None:
    body = json.dumps({"model": "sim", "prompt": "hello", "tokens": [20, 21]}).encode()
    upload = form(field("model", "sim"), file(b"x" * 100_000))
    elsewhere = (Kind.ADMIN, Kind.PAIRABLE, Kind.STICKY)
    placed = [route for route in ROUTES if route.kind not in elsewhere]
    answers = {}
    async with httpx.AsyncClient(trust_env=False) as client:
        for route in placed:
            is_form = route.kind is Kind.UPLOADING
            content = (upload if is_form else body) if route.method == "POST" else None
            headers = {"content-type": FORM_TYPE if is_form else "application/json"}
            headers |= OFFER if route.kind is Kind.TUNNELLING else {}
            direct, through = [
                await client.request(route.method, url + route.path, content=content, headers=headers)
                for url in (fleet.ranks[0].url, fleet.gateways[0].url)
            ]
            assert (through.status_code, said(through)) == (direct.status_code, said(direct)), route
            answers[route.path] = through.status_code
    assert (answers["/tokenize"], answers["/detokenize"], answers["/pooling"]) == (200, 200, 400)
    await until(fleet.nothing_is_held, "nothing is held")


async def test_no_websocket_goes_to_a_drained_rank(fleet: Fleet) -> None:
    settings = SchedulerSettings()
    (drained, other) = (f"127.0.0.1:{rank.port}" for rank in fleet.ranks)
    url = f"{fleet.gateways[0].url}/v1/realtime?model=sim"
    async with open_store(fleet.redis_url) as store, httpx.AsyncClient(trust_env=False) as client:
        await drain(store, drained, settings)
        answers = [await client.get(url, headers=OFFER | {"x-forebay-explain": "1"}) for _ in range(8)]
        await drain(store, drained, settings, undo=True)
    assert [answer.status_code for answer in answers] == [404] * 8  # no rank here speaks it
    assert {answer.headers["x-forebay-decode"] for answer in answers} == {other}
    await until(fleet.nothing_is_held, "nothing is held")


async def test_every_rank_is_asked_what_is_for_all(fleet: Fleet) -> None:
    async with httpx.AsyncClient(trust_env=False, headers={"Authorization": "Bearer root"}) as client:
        answer = await client.post(f"{fleet.gateways[0].url}/reset_prefix_cache?pool=sim")
    results = {one["rank"]: (one["status"], one["body"]) for one in answer.json()["results"]}
    assert results == {f"127.0.0.1:{rank.port}": (200, {"success": True}) for rank in fleet.ranks}
    assert answer.status_code == 200


async def hang_up(gateway: ForebayProcess, random: Random) -> None:
    messages = [{"role": "user", "content": "x" * random.randrange(1, 4000)}]
    earliest = after_an_event if random.random() < 0.3 else at_once
    stream = earliest is after_an_event or random.random() < 0.6
    await asyncio.sleep(random.uniform(0, 1))
    raw = post(CHAT, json.dumps({"messages": messages, "max_tokens": 2000, "stream": stream}).encode())
    await send_and_hang_up(gateway.port, raw, random, within_s=0.3, earliest=earliest)


async def test_of_200_clients_that_hang_up_at_random_moments_no_trace_remains(fleet: Fleet) -> None:
    async with asyncio.TaskGroup() as tasks:
        for number in range(CLIENTS):
            tasks.create_task(hang_up(fleet.gateways[number % 2], Random(number)))
    await until(fleet.nothing_is_held, "nothing is held")
    states = [rank.state for rank in fleet.ranks]
    await until(lambda: all(state()["in_flight"] == 0 for state in states), "no request is left at a rank")
    assert sum(state()["aborted"] for state in states) > 0
    await until(lambda: all(state()["open_connections"] <= 2 for state in states), "connections are closed")
