"""What attempts at ranks say of them: garbage, silence and errors feed the breaker, and never the gateway."""

from __future__ import annotations

import anyio
import pytest

from gateway.errors import RankFailedError, RankTimeoutError, RankUnreachableError, RecomputedError
from gateway.leg_word import LegWord
from scheduler.messages import RankState, Role
from tests.gateway.fake_pools import NOWHERE, FakePool, FakePools, FakeRankView, card
from tests.gateway.running import eventually, nothing_is_held, serving
from tests.gateway.scripted_pair import answers, prefill_answer, scripted_pair
from tests.gateway.scripted_rank import (
    COMPLETION,
    EVENTS,
    STREAM_HEAD,
    Exchange,
    Script,
    breaks_off,
    chunk,
    completes,
    dies_in_its_answer,
    scripted_rank,
    stalls,
    stalls_after_an_event,
    streams,
)
from tests.gateway.websocket_rank import connecting, websocket_rank

JSON = "content-type: application/json"


def says(*parts: bytes) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.send(*parts)
        await exchange.until_closed()

    return script


def refuses(status: str) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(status, b'{"error":{"message":"no","type":"x","param":null,"code":0}}', JSON)

    return script


GARBAGE = [
    pytest.param(says(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"), id="no HTTP"),
    pytest.param(says(b"HTTP/1.1 2x0 OK\r\ncontent-length: 0\r\n\r\n"), id="a status line"),
    pytest.param(says(b"HTTP/1.1 200 OK\r\ncontent length 0\r\n\r\n"), id="a header"),
    pytest.param(says(b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"), id="a length"),
    pytest.param(says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n"), id="a chunk size"),
    pytest.param(says(STREAM_HEAD + b"-5\r\n"), id="a chunk size of a stream"),
    pytest.param(says(STREAM_HEAD + chunk(EVENTS[0])[:-2] + b"??????"), id="the end of a chunk"),
]


@pytest.mark.parametrize("script", GARBAGE)
@pytest.mark.parametrize("stream", [False, True])
async def test_garbage_is_a_failure_of_its_rank_and_the_gateway_goes_on(script: Script, stream: bool) -> None:
    async with scripted_rank(script) as rank, serving(FakePools(pool := FakePool(card(rank.url, rank="r")))) as served:
        await served.complete(stream=stream)
        assert pool.heard_of.count(("r", False)) == len(rank.requests)
        rank.script = completes
        response = await served.complete()
        assert (response.status_code, response.content) == (200, COMPLETION)
        assert pool.heard_of[-1] == ("r", True)
        await eventually(lambda: nothing_is_held(served, pool))


@pytest.mark.parametrize("script", [breaks_off, dies_in_its_answer])
async def test_a_connection_that_breaks_is_a_failure(script: Script) -> None:
    async with scripted_rank(script) as rank, serving(FakePools(pool := FakePool(card(rank.url, rank="r")))) as served:
        await served.complete()
    assert set(pool.heard_of) == {("r", False)}


async def test_a_rank_that_takes_no_connection_is_a_failure() -> None:
    async with serving(FakePools(pool := FakePool(NOWHERE))) as served:
        await served.complete()
    assert set(pool.heard_of) == {(NOWHERE.rank, False)}


@pytest.mark.parametrize("status", ["500 Internal Server Error", "502 Bad Gateway", "503 Service Unavailable"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_5xx_is_one_failure(status: str, stream: bool) -> None:
    script = refuses(status)
    async with scripted_rank(script) as rank, serving(FakePools(pool := FakePool(card(rank.url, rank="r")))) as served:
        await served.complete(stream=stream)
        assert pool.heard_of == [("r", False)] * len(rank.requests)


@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "422 No", "501 Not Implemented"])
@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_rank_refuses_is_no_word_of_its_engine(status: str, stream: bool) -> None:
    script = refuses(status)
    async with scripted_rank(script) as rank, serving(FakePools(pool := FakePool(card(rank.url, rank="r")))) as served:
        assert (await served.complete(stream=stream)).status_code == int(status[:3])
    assert pool.heard_of == []


@pytest.mark.parametrize("path", ["/tokenize", "/v1/messages/count_tokens", "/v1/chat/completions/render"])
async def test_nor_is_what_its_api_server_answers_by_itself_but_its_failures_are(path: str) -> None:
    async with (
        scripted_rank(completes) as rank,
        serving(FakePools(pool := FakePool(card(rank.url, rank="r")))) as served,
    ):
        body = {"model": "sim", "prompt": "x", "messages": []}
        assert (await served.client.post(path, json=body)).status_code == 200
        assert pool.heard_of == []
        rank.script = breaks_off
        await served.client.post(path, json=body)
    assert set(pool.heard_of) == {("r", False)}


async def test_nor_is_a_response_that_it_keeps() -> None:
    async with (
        scripted_rank(completes) as rank,
        serving(FakePools(pool := FakePool(card(rank.url, rank="r")))) as served,
    ):
        served.gateway.kept.note("resp_1", "sim", pool.view.ranks["r"].card)
        assert (await served.client.get("/v1/responses/resp_1")).status_code == 200
        assert pool.heard_of == []


async def test_a_websocket_on_which_nobody_speaks_is_no_fault_of_its_rank() -> None:
    async with (
        websocket_rank() as rank,
        serving(FakePools(pool := FakePool(card(rank.url, rank="r"))), idle_ms=50) as served,
    ):
        async with connecting(served) as client:
            await client.wait_closed()
        await eventually(lambda: nothing_is_held(served, pool))
    assert pool.heard_of == [("r", True)]


async def test_a_whole_answer_went_well() -> None:
    async with (
        scripted_rank(completes) as rank,
        serving(FakePools(pool := FakePool(card(rank.url, rank="r")))) as served,
    ):
        await served.complete()
    assert pool.heard_of == [("r", True)]


async def test_a_silent_rank_is_a_failure() -> None:
    async with (
        scripted_rank(stalls) as rank,
        serving(FakePools(pool := FakePool(card(rank.url, rank="r"))), first_byte_ms=50) as served,
    ):
        await served.complete()
    assert set(pool.heard_of) == {("r", False)}


async def test_a_stream_that_began_and_fell_silent_is_a_failure() -> None:
    async with (
        scripted_rank(stalls_after_an_event) as rank,
        serving(FakePools(pool := FakePool(card(rank.url, rank="r"))), idle_ms=50) as served,
    ):
        await served.complete(stream=True)
    assert pool.heard_of[-1] == ("r", False)


async def test_a_stream_is_one_good_word() -> None:
    async with scripted_rank(streams) as rank, serving(FakePools(pool := FakePool(card(rank.url, rank="r")))) as served:
        await served.complete(stream=True)
    assert pool.heard_of == [("r", True)]


ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
ERROR = b'data: {"error":{"message":"no KV","type":"x","param":null,"code":500}}\n\n'


@pytest.mark.parametrize("then", [b"", chunk(ERROR)], ids=["dies", "errs"])
async def test_a_stream_that_fails_before_its_first_token_has_no_good_word(then: bytes) -> None:
    """As of a decode rank that does not get its KV: the role is there before."""

    async def begins(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD, chunk(ROLE))
        await anyio.sleep(0.01)
        await exchange.send(then)
        exchange.abort()

    async with scripted_rank(begins) as rank, serving(FakePools(pool := FakePool(card(rank.url, rank="r")))) as served:
        await served.client.post("/v1/chat/completions", json={"messages": [], "stream": True})
    assert set(pool.heard_of) == {("r", False)}


async def test_of_a_client_that_left_nothing_is_said() -> None:
    async with scripted_rank(stalls) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        with anyio.move_on_after(0.2):
            await served.complete()
        await eventually(lambda: bool(rank.requests) and nothing_is_held(served, pool))
    assert pool.heard_of == []


async def test_a_rank_told_to_stop_that_leaves_its_clients_hanging_is_a_failure() -> None:
    """As vLLM 0.32.0 leaves them on SIGTERM: its agent has it down, and its connections stay open without a byte."""
    async with scripted_rank(stalls) as rank, serving(FakePools(pool := FakePool(card(rank.url, rank="r")))) as served:
        served.gateway.lost_ranks.grace_s = 0.0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(served.complete)
            await eventually(lambda: bool(rank.requests))
            pool.view.ranks["r"] = FakeRankView(card(rank.url, rank="r"), RankState.DOWN)  # type: ignore[index]
    assert set(pool.heard_of) == {("r", False)}


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff\xfe", prefill_answer({"do_remote_prefill": "x" * 9})])
async def test_json_that_is_none_from_a_prefill_rank_is_a_failure_of_it(body: bytes) -> None:
    async with scripted_pair(answers(body)) as pair:
        response = await pair.served.complete()
    assert response.content == COMPLETION
    assert [word for word in pair.pool.heard_of if word[0] == "P"] == [("P", False)]


async def test_a_prefill_that_takes_too_long_is_a_failure_of_its_rank() -> None:
    async with scripted_pair(stalls, prefill_ms=50) as pair:
        await pair.served.complete()
    assert ("P", False) in pair.pool.heard_of
    assert pair.pool.heard_of[-1] == ("D", True)


async def test_words_are_said_of_the_placement_that_they_are_of() -> None:
    """So a breaker tells its probe's answer from others of the same rank."""
    async with scripted_pair(decode=breaks_off) as pair:
        await pair.served.complete()
    assert pair.pool.heard_of == [("P", True), ("D", False), ("P2", True), ("D2", True)]
    assert pair.pool.heard_for == [1, 1, 2, 2]


@pytest.mark.parametrize("script", [breaks_off, completes])
async def test_so_are_those_of_one_rank(script: Script) -> None:
    async with scripted_rank(script) as rank, serving(FakePools(pool := FakePool(card(rank.url, rank="r")))) as served:
        await served.complete()
        await served.complete()
    assert pool.heard_for == [*range(1, len(pool.asked) + 1)]


async def test_so_is_that_of_a_prefill_that_takes_too_long() -> None:
    async with scripted_pair(stalls, prefill_ms=50) as pair:
        await pair.served.complete()
    assert (pair.pool.heard_of[0], pair.pool.heard_for[0]) == (("P", False), 1)


async def test_what_an_operator_asks_of_all_ranks_is_no_word_of_how_they_serve() -> None:
    script = refuses("500 Internal Server Error")
    pools = FakePools(pool := FakePool())
    async with scripted_rank(script) as rank, serving(pools, admin_key="a") as served:
        pool.view.ranks["r"] = FakeRankView(card(rank.url))  # type: ignore[index]
        response = await served.client.post("/reset_prefix_cache", headers={"authorization": "Bearer a"})
        assert rank.requests, response.content
    assert pool.heard_of == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RankFailedError("x"), [("r", False)]),
        (RankTimeoutError("x"), [("r", False)]),
        (RankUnreachableError("x"), [("r", False)]),
        (RecomputedError("x"), []),
        (ValueError("x"), []),
    ],
)
def test_only_what_a_rank_is_at_fault_for_is_a_failure(error: Exception, said: list[tuple[str, bool]]) -> None:
    pool = FakePool()
    with pytest.raises(type(error)), LegWord(pool, card("http://h:1", rank="r", role=Role.MIXED), 7):
        raise error
    assert pool.heard_of == said


def test_a_stream_that_breaks_after_it_began_well_is_said_too() -> None:
    pool = FakePool()
    with LegWord(pool, card("http://h:1", rank="r"), 7) as word:
        word.well()
        word.well()
        word.badly()
        word.badly()
    assert pool.heard_of == [("r", True), ("r", False)]
