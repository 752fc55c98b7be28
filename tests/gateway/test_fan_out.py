"""What every rank is asked, and the one answer made of theirs."""

import asyncio
import json
from typing import Any

import pytest

from gateway.errors import RankFailedError
from gateway.fan_out_answer import failed, said, status_of
from scheduler.messages import Role
from tests.gateway.fake_pools import NOWHERE, FakePool, FakePools, card
from tests.gateway.running import Served, error_of, eventually, nothing_is_held, serving
from tests.gateway.scripted_rank import Exchange, Script, scripted_rank, stalls

RESET = "/reset_prefix_cache"
ADMIN = {"authorization": "Bearer root-key"}
KEYS = {"admin_key": "root-key"}


def answering(status: str, body: bytes) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(status, body, "content-type: application/json")

    return script


done = answering("200 OK", b"")
refuses = answering("400 Bad Request", b'{"error":{"message":"no such adapter"}}')


async def reset(served: Served, query: str = "", path: str = RESET) -> tuple[int, list[dict[str, Any]]]:
    response = await served.client.post(path + query, headers=ADMIN)
    return response.status_code, response.json().get("results", [])


async def test_every_rank_of_the_only_pool_is_asked() -> None:
    async with scripted_rank(done) as one, scripted_rank(done) as two:
        pool = FakePool(card(one.url, rank="r1"), card(two.url, rank="r2"))
        async with serving(FakePools(pool), **KEYS) as served:
            status, results = await reset(served, "?reset_running_requests=true")
            await eventually(lambda: nothing_is_held(served, pool))
    assert status == 200
    assert results == [{"pool": "sim", "rank": rank, "status": 200, "body": None} for rank in ("r1", "r2")]
    assert [rank.requests[0].line for rank in (one, two)] == [f"POST {RESET}?reset_running_requests=true HTTP/1.1"] * 2
    assert pool.asked == []


async def test_a_rank_that_is_named_is_asked_alone_whatever_it_is_able_to() -> None:
    async with scripted_rank(done) as one, scripted_rank(done) as two:
        pool = FakePool(card(one.url, rank="r1"), card(two.url, rank="r2", role=Role.PREFILL))
        async with serving(FakePools(pool), pin=True, **KEYS) as served:
            named = await served.client.post(RESET, headers=ADMIN | {"x-forebay-rank": "r2"})
            unknown = await served.client.post(RESET, headers=ADMIN | {"x-forebay-rank": "r3"})
    assert named.json() == {"results": [{"pool": "sim", "rank": "r2", "status": 200, "body": None}]}
    assert (one.requests, len(two.requests)) == ([], 1)
    assert unknown.status_code == 400
    assert error_of(unknown)["message"] == "Rank r3 is no rank of this model"


async def test_ranks_behind_one_port_are_not_asked_apart() -> None:
    async with scripted_rank(done) as both:
        pool = FakePool(card(both.url, rank="r#0"), card(both.url, rank="r#1"))
        async with serving(FakePools(pool), pin=True, **KEYS) as served:
            answer = await served.client.post(RESET, headers=ADMIN | {"x-forebay-rank": "r#1"})
    assert [each["rank"] for each in answer.json()["results"]] == ["r#0", "r#1"]


async def test_a_body_is_passed_to_each_and_their_words_are_shown() -> None:
    async with scripted_rank(answering("200 OK", b'Success: "a"')) as one, scripted_rank(refuses) as two:
        pool = FakePool(card(one.url, rank="r1"), card(two.url, rank="r2"))
        async with serving(FakePools(pool), **KEYS) as served:
            raw = b'{"lora_name": "a",  "lora_path": "/a"}'
            headers = ADMIN | {"content-type": "application/json"}
            response = await served.client.post("/v1/load_lora_adapter", content=raw, headers=headers)
    assert response.status_code == 207
    assert response.json() == {
        "results": [
            {"pool": "sim", "rank": "r1", "status": 200, "body": 'Success: "a"'},
            {"pool": "sim", "rank": "r2", "status": 400, "body": {"error": {"message": "no such adapter"}}},
        ]
    }
    assert [rank.requests[0].body for rank in (one, two)] == [raw, raw]


async def test_a_dead_rank_is_told_of_and_the_others_are_asked() -> None:
    async with scripted_rank(done) as one:
        pool = FakePool(card(one.url, rank="r1"), NOWHERE)
        async with serving(FakePools(pool), **KEYS) as served:
            status, results = await reset(served)
            await eventually(lambda: nothing_is_held(served, pool))
    assert (status, [one["status"] for one in results]) == (207, [502, 200])
    assert results[0]["body"]["error"]["type"] == "Bad Gateway"


async def test_where_no_rank_does_it_it_is_a_502() -> None:
    async with serving(FakePools(FakePool(NOWHERE)), **KEYS) as served:
        assert (await reset(served))[0] == 502


async def test_where_there_is_no_rank_it_is_a_503() -> None:
    async with serving(FakePools(FakePool()), **KEYS) as served:
        response = await served.client.post(RESET, headers=ADMIN)
    assert (response.status_code, error_of(response)["message"]) == (503, "There is no rank to ask")


async def test_of_several_pools_one_is_named_or_all() -> None:
    async with scripted_rank(done) as one, scripted_rank(done) as two:
        fakes = FakePools(FakePool(card(one.url, rank="r1"), name="a b"), FakePool(card(two.url, rank="r2"), name="c"))
        async with serving(fakes, **KEYS) as served:
            unnamed = await served.client.post(RESET, headers=ADMIN)
            unknown = await served.client.post(RESET + "?pool=d", headers=ADMIN)
            assert [found["rank"] for found in (await reset(served, "?level=1&pool=a+b&x="))[1]] == ["r1"]
            assert [found["rank"] for found in (await reset(served, "?pool=*"))[1]] == ["r1", "r2"]
    assert (unnamed.status_code, error_of(unnamed)["param"]) == (400, "pool")
    assert unknown.status_code == 404
    assert [request.line for request in one.requests] == [f"POST {RESET}?level=1&x= HTTP/1.1", f"POST {RESET} HTTP/1.1"]


async def test_ranks_behind_one_port_are_asked_once() -> None:
    async with scripted_rank(done) as one:
        cards = [card(one.url, rank=f"r{index}", local_index=index) for index in range(3)]
        async with serving(FakePools(FakePool(*cards)), **KEYS) as served:
            status, results = await reset(served)
    assert (status, [found["rank"] for found in results], len(one.requests)) == (200, ["r0", "r1", "r2"], 1)


async def test_a_get_is_passed_on_as_one() -> None:
    async with (
        scripted_rank(answering("200 OK", b'{"is_sleeping":false}')) as one,
        serving(FakePools(FakePool(card(one.url))), **KEYS) as served,
    ):
        response = await served.client.get("/is_sleeping", headers=ADMIN)
    assert response.json()["results"][0]["body"] == {"is_sleeping": False}
    assert one.requests[0].line == "GET /is_sleeping HTTP/1.1"


async def test_forty_ranks_are_asked_sixteen_at_a_time() -> None:
    most = 0
    async with scripted_rank() as rank:

        async def counts(exchange: Exchange) -> None:
            nonlocal most
            most = max(most, rank.open_connections)
            await asyncio.sleep(0)
            await done(exchange)

        rank.script = counts
        cards = [card(f"{rank.url}/{number}") for number in range(40)]
        async with serving(FakePools(FakePool(*cards)), **KEYS) as served:
            assert (await reset(served))[0] == 200
    assert (len(rank.requests), most) == (40, 16)


async def test_what_is_not_said_in_time_is_told_of() -> None:
    async with scripted_rank(stalls) as one, scripted_rank(done) as two:
        pool = FakePool(card(one.url, rank="r1"), card(two.url, rank="r2"))
        async with serving(FakePools(pool), first_byte_ms=2_000, **KEYS) as served:
            status, results = await reset(served)
            await eventually(lambda: one.open_connections == 0)
    assert (status, [found["status"] for found in results]) == (207, [504, 200])


async def test_when_the_operator_leaves_the_ranks_are_left() -> None:
    async with scripted_rank(stalls) as one, serving(FakePools(pool := FakePool(card(one.url))), **KEYS) as served:
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        key = "Authorization: Bearer root-key\r\nContent-Length: 0"
        writer.write(f"POST {RESET} HTTP/1.1\r\nHost: g\r\n{key}\r\n\r\n".encode())
        await eventually(lambda: len(one.requests) == 1)
        writer.close()
        await eventually(lambda: one.open_connections == 0)
        await eventually(lambda: nothing_is_held(served, pool))


@pytest.mark.parametrize(
    ("body", "shown"), [(b"", None), (b"[1]", [1]), (b"\xff", "\ufffd"), (b"[" * 5000, "[" * 5000)]
)
def test_a_body_is_shown_as_json_or_as_text(body: bytes, shown: object) -> None:
    assert json.loads(bytes(said("sim", "r1", 200, body).body)) == shown


def test_the_status_says_whether_all_some_or_none_did_it() -> None:
    good, bad = said("sim", "r1", 204, b""), failed("sim", "r2", RankFailedError("x"))
    assert [status_of(all_said) for all_said in ([good], [good, bad], [bad])] == [200, 207, 502]
