"""Responses that a rank keeps: where they are is noted beside the answer, and whoever asks for one gets to its rank."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import anyio.lowlevel
import openai
import pytest

from gateway import response_id
from gateway.errands import Errands
from gateway.kept_responses import AT_ONCE, KeptResponses
from gateway.metrics import Metrics
from gateway.rank_wait import RankWait
from gateway.wire import read
from scheduler.errors import StoreRejectedError, StoreUnavailableError
from scheduler.homes import Home, Homes
from scheduler.store import open_store
from tests.gateway.fake_pools import FakeHomes, FakePool, FakePools, FakePoolView, card
from tests.gateway.running import DEADLINE_S, Served, checked_error, error_of, eventually, nothing_is_held, serving
from tests.gateway.scripted_apis import RESPONSES, STREAMED, of_responses
from tests.gateway.scripted_pair import answers, scripted_pair
from tests.gateway.scripted_rank import Exchange, Script, ScriptedRank, breaks_off, scripted_rank, streaming
from tests.polling import until
from tests.servers import needs_redis, redis_server

WHOLE = of_responses().whole
ID = WHOLE["id"]
STREAMED_ID = "resp_830ff0e5c1accbec"
KEPT_S = 3_600  # --response-ttl-s, its default


class Kept(NamedTuple):
    """A gateway over two ranks, A and B, of which it takes A for what may go anywhere."""

    served: Served
    pools: FakePools
    pool: FakePool
    a: ScriptedRank
    b: ScriptedRank

    def home(self, rank: str, incarnation: str = "1", pool: str = "sim") -> tuple[Home, int]:
        return Home(pool, rank, incarnation), KEPT_S

    async def create(self, **fields: Any) -> Any:
        return await self.served.client.post(RESPONSES, json={"model": "sim", "input": "x"} | fields)

    async def get(self, response: str) -> Any:
        return await self.served.client.get(f"{RESPONSES}/{response}")

    def nothing_is_held(self) -> bool:
        return nothing_is_held(self.served, self.pool)


ANSWERS = answers(json.dumps(WHOLE).encode())


@asynccontextmanager
async def kept(script: Script = ANSWERS, **options: Any) -> AsyncIterator[Kept]:
    async with scripted_rank(script) as a, scripted_rank(script) as b:
        pool = FakePool(card(a.url, rank="A"), card(b.url, rank="B"), takes_turns=False)
        async with serving(pools := FakePools(pool, FakePool(name="other")), **options) as served:
            yield Kept(served, pools, pool, a, b)


@pytest.mark.parametrize("streamed", [False, True])
async def test_where_a_response_is_kept_is_noted_when_its_id_is_first_seen(streamed: bool) -> None:
    script = streaming(*STREAMED.splitlines(keepends=True)) if streamed else ANSWERS
    async with kept(script) as it:
        response = await it.create(stream=streamed)
        await eventually(lambda: bool(it.pools.homes.kept))
    assert response.status_code == 200
    assert it.pools.homes.kept == {STREAMED_ID if streamed else ID: it.home("A")}


async def test_of_a_stream_it_is_noted_before_the_first_token() -> None:
    seen = asyncio.Event()
    created, _, rest = STREAMED.partition(b"\n\n")

    async def script(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n", created + b"\n\n")
        await seen.wait()
        await exchange.send(rest)
        exchange.abort()

    async with kept(script) as it, asyncio.TaskGroup() as tasks:
        tasks.create_task(it.create(stream=True), name="stream")
        await eventually(lambda: bool(it.pools.homes.kept))
        seen.set()


@pytest.mark.parametrize("store", [False, None, "no", 7])
async def test_a_response_that_is_not_to_be_kept_is_not_noted(store: Any) -> None:
    async with kept() as it:
        await it.create(store=store)
        await it.served.complete()
        await eventually(it.nothing_is_held)
    assert it.pools.homes.kept == {}


async def test_a_pair_keeps_its_response_on_the_decode_rank() -> None:
    api = of_responses()
    async with scripted_pair(answers(api.prefill_answer), ANSWERS) as pair:
        await pair.served.client.post(RESPONSES, json=api.request)
        homes = pair.served.gateway.pools.homes
        assert await homes.find(ID) is not None
        assert (await homes.find(ID)) == Home("sim", "D", "1")


@pytest.mark.parametrize(("is_slow", "error"), [(True, None), (False, StoreUnavailableError("gone"))])
async def test_a_store_that_is_slow_or_gone_does_not_hold_up_an_answer(
    is_slow: bool, error: StoreUnavailableError | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.kept_responses.WRITE_WITHIN_S", 0.05)
    monkeypatch.setattr("gateway.kept_responses.READ_WITHIN_S", 0.05)
    async with kept() as it:
        it.pools.homes.is_slow, it.pools.homes.error = is_slow, error
        assert (await it.create()).status_code == 200
        await eventually(it.nothing_is_held)
        looked_up = await it.served.client.get(f"{RESPONSES}/resp_other")
        went_on = await it.create(previous_response_id="resp_other")
        metrics = it.served.gateway.metrics.page
        await eventually(lambda: b'responses_noted_total{kept="false",pool="sim"} 1.0' in metrics())
    for response in (looked_up, went_on):
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert "looked up" in error_of(response)["message"]
    assert len(it.a.requests) == 1


class Held(FakeHomes):
    """Answers when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()
        self.found: list[str] = []

    async def keep(self, response: str, home: Home, ttl_s: int) -> None:
        self.asked.set()
        await self.may_answer.wait()
        await super().keep(response, home, ttl_s)

    async def find(self, response: str) -> Home | None:
        self.asked.set()
        await self.may_answer.wait()
        self.found.append(response)
        return await super().find(response)


async def test_a_client_that_leaves_does_not_break_off_what_the_store_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.kept_responses.READ_WITHIN_S", DEADLINE_S)
    async with kept() as it:
        it.pools.homes = homes = Held()
        gateway = it.served.gateway
        gateway.kept = KeptResponses(it.pools, gateway.metrics, gateway.errands, KEPT_S, gateway.rank_wait)
        _, writer = await asyncio.open_connection("127.0.0.1", it.served.port)
        writer.write(f"GET {RESPONSES}/resp_1 HTTP/1.1\r\nHost: g\r\n\r\n".encode())
        await homes.asked.wait()
        writer.transport.abort()
        await eventually(lambda: it.served.gateway.alive == 0)
        homes.may_answer.set()
        await eventually(lambda: homes.found == ["resp_1"])


@pytest.mark.parametrize("is_writing", [False, True])
async def test_at_the_end_all_that_was_noted_is_written(is_writing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.kept_responses.WRITE_WITHIN_S", DEADLINE_S)
    pools = FakePools(FakePool(a := card("http://127.0.0.1:9", rank="A")))
    pools.homes = homes = Held()
    metrics = Metrics()
    notes = KeptResponses(pools, metrics, Errands(), KEPT_S, RankWait(0.0, metrics.registry))
    names = {f"resp_{number}" for number in range(3 * AT_ONCE)}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(notes.run, name="kept responses")
        await anyio.lowlevel.checkpoint()
        for name in names:
            notes.note(name, "sim", a)
        if is_writing:
            await homes.asked.wait()
        tasks.cancel_scope.cancel()
        homes.may_answer.set()
    assert homes.kept.keys() == names


@pytest.mark.parametrize(("method", "path"), [("GET", "?stream=true&starting_after=3"), ("POST", "/cancel")])
async def test_what_is_asked_of_a_response_is_asked_of_its_rank(method: str, path: str) -> None:
    async with kept() as it:
        it.pools.homes.kept["resp_1"] = it.home("B")
        response = await it.served.client.request(method, f"{RESPONSES}/resp_1{path}")
        await eventually(it.nothing_is_held)
        page = (await it.served.client.get("/metrics")).text
    assert response.json() == WHOLE
    assert it.a.requests == []
    assert it.b.requests[0].line == f"{method} {RESPONSES}/resp_1{path} HTTP/1.1"
    assert it.pool.history == []
    label = "/v1/responses/{response_id}" + ("/cancel" if method == "POST" else "")
    assert f'requests_total{{pool="sim",route="{label}",status="200"}} 1.0' in page


async def test_a_response_is_not_had_of_a_rank_that_does_not_keep_it() -> None:
    async with kept(pin=True) as it:
        await it.create()
        await eventually(lambda: bool(it.pools.homes.kept))
        asked = it.served.client.get
        other = await asked(f"{RESPONSES}/{ID}", headers={"x-forebay-rank": "B"})
        own = await asked(f"{RESPONSES}/{ID}", headers={"x-forebay-rank": "A"})
    assert (other.status_code, error_of(other)["param"], own.status_code) == (400, "x-forebay-rank", 200)
    assert not it.b.requests


async def test_a_cancelled_response_is_shown_and_so_is_what_the_rank_refuses() -> None:
    async with kept() as it:
        it.pools.homes.kept["resp_1"] = it.home("A")
        it.a.script = answers(json.dumps(WHOLE | {"status": "cancelled"}).encode())
        assert (await it.served.client.get(f"{RESPONSES}/resp_1")).json()["status"] == "cancelled"
        it.a.script = answers(b'{"error":{"message":"x"}}', "404 Not Found")
        refused = await it.served.client.get(f"{RESPONSES}/resp_1")
    assert (refused.status_code, refused.json()) == (404, {"error": {"message": "x"}})


async def test_a_request_that_goes_on_from_a_response_is_placed_on_its_rank() -> None:
    async with kept() as it:
        it.pools.homes.kept["resp_1"] = it.home("B")
        response = await it.create(previous_response_id="resp_1")
        await eventually(it.nothing_is_held)
    assert response.status_code == 200
    assert (it.a.requests, len(it.b.requests)) == ([], 1)
    (shape,) = it.pool.asked
    assert (shape.only_on, shape.pairable) == ("B", False)
    assert it.pool.words()[-1] == "released"


GONE = {
    "unknown": None,
    "of another life": Home("sim", "B", "0"),
    "of a rank that left": Home("sim", "C", "1"),
    "of a pool that left": Home("none", "B", "1"),
}


@pytest.mark.parametrize("home", GONE.values(), ids=GONE)
async def test_a_response_that_no_rank_has_is_not_found_in_vllms_words(home: Home | None) -> None:
    async with kept(rank_wait_ms=20) as it:
        if home is not None:
            it.pools.homes.kept["resp_1"] = home, KEPT_S
        told = [
            await it.served.client.get(f"{RESPONSES}/resp_1"),
            await it.served.client.post(f"{RESPONSES}/resp_1/cancel"),
            await it.create(previous_response_id="resp_1"),
        ]
    for response in told:
        assert response.status_code == 404
        assert error_of(response) == {
            "message": "Response with id 'resp_1' not found.",
            "type": "invalid_request_error",
            "param": "response_id",
            "code": 404,
        }
    assert it.a.requests == it.b.requests == []
    assert it.pools.placed == 0


@pytest.mark.parametrize("goes_on", [True, False])
async def test_while_its_agent_restarts_the_rank_that_has_a_response_is_waited_for(goes_on: bool) -> None:
    async with kept(rank_wait_ms=600_000) as it, asyncio.TaskGroup() as tasks:
        it.pools.homes.kept["resp_1"] = it.home("B")
        there = it.pool.view
        it.pool.view = FakePoolView({"A": there.ranks["A"]})
        ask = it.create(previous_response_id="resp_1") if goes_on else it.served.client.get(f"{RESPONSES}/resp_1")
        asking = tasks.create_task(ask)
        await eventually(lambda: it.served.gateway.rank_wait.waiting == 1)
        it.pool.view = there
        it.pool.has_rank.set()
        assert (await asking).status_code == 200
    assert (it.a.requests, len(it.b.requests)) == ([], 1)


@pytest.mark.parametrize("goes_on", [True, False])
async def test_a_rank_that_was_drained_before_it_left_is_not_waited_for(goes_on: bool) -> None:
    async with kept(rank_wait_ms=600_000) as it:
        it.pools.homes.kept["resp_1"] = it.home("B")
        it.pools.homes.drained.add("B")
        ask = partial(it.create, previous_response_id="resp_1") if goes_on else partial(it.get, "resp_1")
        assert (await ask()).status_code == 200, "drained or not"
        it.pool.view = FakePoolView({"A": it.pool.view.ranks["A"]})
        assert (await ask()).status_code == 404
        assert it.served.gateway.rank_wait.waiting == 0


async def test_where_it_cannot_be_read_whether_a_rank_was_drained_it_is_waited_for() -> None:
    """As by a gateway whose user of Redis may not."""
    async with kept(rank_wait_ms=600_000) as it, asyncio.TaskGroup() as tasks:
        it.pools.homes.kept["resp_1"] = it.home("B")
        it.pools.homes.drains_error = StoreRejectedError("no permissions")
        there = it.pool.view
        it.pool.view = FakePoolView({"A": there.ranks["A"]})
        asking = tasks.create_task(it.get("resp_1"))
        await eventually(lambda: it.served.gateway.rank_wait.waiting == 1)
        it.pool.view = there
        it.pool.has_rank.set()
        assert (await asking).status_code == 200


async def test_an_id_cannot_change_what_a_rank_is_asked() -> None:
    odd = "a?b #\u00e9 c"
    async with kept() as it:
        it.pools.homes.kept[odd] = it.home("A")
        await it.served.client.get(f"{RESPONSES}/a%3Fb%20%23%C3%A9%20c")
        too_long = await it.served.client.get(f"{RESPONSES}/{'x' * 600}")
    assert it.a.requests[0].line == f"GET {RESPONSES}/a%3Fb%20%23%C3%A9%20c HTTP/1.1"
    assert too_long.status_code == 404


async def test_a_rank_that_breaks_off_is_a_502() -> None:
    async with kept(breaks_off) as it:
        it.pools.homes.kept["resp_1"] = it.home("A")
        response = await it.served.client.get(f"{RESPONSES}/resp_1")
        await eventually(it.nothing_is_held)
    assert checked_error(response.status_code, response.content)["code"] == 502


async def test_nothing_is_noted_where_that_is_switched_off() -> None:
    async with kept(response_ttl_s=0) as it:
        await it.create()
        await eventually(it.nothing_is_held)
    assert it.pools.homes.kept == {}


async def test_the_openai_client_creates_gets_and_cancels() -> None:
    async with (
        kept() as it,
        openai.AsyncOpenAI(base_url=f"{it.served.url}/v1", api_key="none", max_retries=0) as client,
    ):
        made = await client.responses.create(model="sim", input="x")
        await eventually(lambda: ID in it.pools.homes.kept)
        got = await client.responses.retrieve(made.id)
        cancelled = await client.responses.cancel(made.id)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve("resp_unknown")
    assert made.output_text == got.output_text == cancelled.output_text


@needs_redis
async def test_a_response_that_one_gateway_noted_is_found_by_another(tmp_path: Path) -> None:
    with redis_server(tmp_path) as redis:
        async with open_store(redis.url) as store, scripted_rank(ANSWERS) as rank:
            both = [FakePools(FakePool(card(rank.url))) for _ in range(2)]
            for pools in both:
                pools.homes = Homes(store)
            async with serving(both[0]) as one, serving(both[1]) as other:
                await one.client.post(RESPONSES, json={"model": "sim", "input": "x"})

                async def is_found() -> bool:
                    return (await other.client.get(f"{RESPONSES}/{ID}")).status_code == 200

                await until(is_found, "the response is found", within_s=DEADLINE_S)
                await asyncio.to_thread(redis.stop)
                assert (await other.client.get(f"{RESPONSES}/{ID}")).status_code == 503


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b'{"id":"a","usage":{"x":1}}', "a"), (b'data: {"response":{"id":"b"},"type":"x"}\n\n', "b"),
        (b': x\n\ndata: {"a":1}\n\nevent: c\ndata: {"response":{"id":"c"}}\n\ndata: {"response":{"id":"d"}}\n\n', "c"),
        (b'{"id":5}', None), (b"{", None), (b"", None), (b'data: {"response":{}}\n\n', None),
        (b'{"id":"' + b"x" * 513 + b'"}', None), (b'{"id":""}', None),
    ],
)  # fmt: skip
def test_the_id_of_an_answer_is_found(said: bytes, expected: str | None) -> None:
    assert response_id.of_answer(said) == expected


@pytest.mark.parametrize(("given", "expected"), [('"a"', "a"), ('""', ""), ("null", None), ("5", None)])
def test_what_a_request_goes_on_from_is_read(given: str, expected: str | None) -> None:
    assert response_id.previous_of(read(b'{"previous_response_id":' + given.encode() + b"}").fields) == expected
