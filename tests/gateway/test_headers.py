"""Which headers pass between client and rank, and which the gateway writes itself."""

from random import Random

import pytest

from gateway.errors import InvalidRequestError
from gateway.request import is_sampled
from gateway.server import open_upstream
from gateway.settings import GatewaySettings
from tests.gateway.fake_pools import NOWHERE, FakePool, FakePools, card
from tests.gateway.running import CHAT, post, serving
from tests.gateway.scripted_rank import (
    Exchange,
    scripted_rank,
)


async def test_headers_that_belong_to_a_connection_or_to_the_gateway_do_not_pass() -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        sent = post(
            CHAT,
            b'{"messages":[{"role":"user","content":"hi"}]}',
            "Connection: keep-alive, X-Hop",
            "X-Hop: 1",
            "Keep-Alive: timeout=5",
            "TE: trailers",
            "Upgrade: h2c",
            "Proxy-Authorization: Basic eA==",
            "Cookie: session=1",
            "Accept-Encoding: gzip",
            "X-Data-Parallel-Rank: 5",
            "X-Forebay-Explain: 1",
            "X-Request-Timeout-Ms: 60000",
            "X-Request-Id: mine",
            "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "X-Session-ID: s1",
            "X-Vllm-Priority: 3",
            "X-Name: J\u00fcrgen",
            "Authorization: Bearer the-rank's",
        )
        status, _, _ = await served.send(sent)
    assert status == 200
    headers = dict(rank.requests[0].headers)
    assert headers.keys() == {
        "host", "content-type", "content-length", "traceparent", "x-session-id", "x-vllm-priority", "x-name",
        "authorization", "x-request-id",
    }  # fmt: skip
    assert headers["host"] == rank.url.removeprefix("http://")
    assert headers["x-request-id"] != "mine"
    assert headers["x-name"].encode("latin-1").decode() == "J\u00fcrgen"


async def test_blanks_around_a_value_do_not_pass() -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        sent = post(CHAT, b'{"messages":[{"role":"user","content":"hi"}]}', "X-A: \t a \tb\t ", "X-B: \t")
        status, _, _ = await served.send(sent)
    assert status == 200
    assert rank.requests[0].header("x-a") == "a \tb"
    assert rank.requests[0].header("x-b") == ""


@pytest.mark.parametrize("header", [(b"x-a", b"a\x00"), (b"x a", b"")])
async def test_a_header_that_may_not_be_sent_is_the_clients_fault(header: tuple[bytes, bytes]) -> None:
    async with scripted_rank() as rank, open_upstream(GatewaySettings(redis="redis://unused")) as upstream:
        with pytest.raises(InvalidRequestError):
            await upstream.request("POST", rank.url, [header], b"{}", lambda: None).__aenter__()
    assert rank.requests == []


async def test_the_gateways_own_keys_never_reach_a_rank() -> None:
    async with (
        scripted_rank() as rank,
        serving(FakePools(FakePool(card(rank.url))), api_key=("sesame",), admin_key="root") as served,
    ):
        response = await served.complete(headers={"Authorization": "Bearer sesame"})
    assert response.status_code == 200
    assert rank.requests[0].header("authorization") is None


@pytest.mark.parametrize("api_key", [(), ("sesame",)])
async def test_the_ranks_key_takes_the_place_of_what_a_client_brings(api_key: tuple[str, ...]) -> None:
    async with (
        scripted_rank() as rank,
        serving(FakePools(FakePool(card(rank.url))), api_key=api_key, rank_api_key="the-rank's") as served,
    ):
        response = await served.complete(headers={"Authorization": "Bearer sesame"})
    assert response.status_code == 200
    assert rank.requests[0].header("authorization") == "Bearer the-rank's"


async def test_headers_of_the_ranks_connection_do_not_reach_the_client() -> None:
    async def answers(exchange: Exchange) -> None:
        headers = ("Connection: close, X-Hop", "X-Hop: 1", "Keep-Alive: timeout=5", "Server: rank", "X-Kept: yes")
        await exchange.answer("200 OK", b"{}", "content-type: application/json", "X-Request-Id: rank's", *headers)

    async with scripted_rank(answers) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        response = await served.complete()
    assert response.headers["x-kept"] == "yes"
    assert response.headers.keys() == {"content-type", "content-length", "x-kept", "x-request-id", "date"}
    assert response.headers["x-request-id"] != "rank's"


async def test_an_engine_behind_a_shared_port_is_named_by_its_local_index() -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url, local_index=3)))) as served:
        await served.complete(headers={"X-data-parallel-rank": "0"})
    assert [value for name, value in rank.requests[0].headers if name == "x-data-parallel-rank"] == ["3"]


async def test_each_attempt_has_a_request_id_of_its_own_and_the_client_gets_its_own_back() -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        first = await served.complete(headers={"X-Request-Id": "job-7"})
        second = await served.complete(headers={"X-Request-Id": "job-7"})
        third = await served.complete()
    assert first.headers.get_list("x-request-id") == second.headers.get_list("x-request-id") == ["job-7"]
    assert len(third.headers["x-request-id"]) == 32
    ids = {request.header("x-request-id") for request in rank.requests}
    assert len(ids) == 3
    assert "job-7" not in ids


@pytest.mark.parametrize("strange", ["a b", "x" * 129, "quote\u00e9"])
async def test_a_request_id_that_is_none_is_replaced(strange: str) -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        response = await served.client.get("/healthz", headers=[(b"x-request-id", strange.encode())])
    assert len(response.headers["x-request-id"]) == 32


async def test_where_it_is_allowed_an_answer_says_who_served_it() -> None:
    async with scripted_rank() as rank, serving(FakePools(pool := FakePool(card(rank.url))), explain=True) as served:
        response = await served.complete(headers={"X-Forebay-Explain": "1"})
        plain = await served.complete()
    assert response.headers["x-forebay-decode"] == rank.url.removeprefix("http://")
    assert response.headers["x-forebay-gateway"] == "7@gateway"
    assert "x-forebay-prefill" not in response.headers
    assert "x-forebay-decode" not in plain.headers
    assert pool.explained[0] == response.headers["x-request-id"]


async def test_where_it_is_not_allowed_an_answer_does_not_say_who_served_it() -> None:
    async with (
        scripted_rank() as rank,
        serving(FakePools(pool := FakePool(card(rank.url))), receipt_share=0.0) as served,
    ):
        response = await served.complete(headers={"X-Forebay-Explain": "1"})
    assert not [name for name in response.headers if name.startswith("x-forebay")]
    assert pool.explained == [""]


async def test_a_share_of_all_requests_has_receipts_under_the_id_that_their_clients_see() -> None:
    pool = FakePool(NOWHERE)
    async with serving(FakePools(pool), receipt_share=1.0) as served:
        own = await served.complete()
        await served.complete(headers={"X-Request-Id": "job-7"})
    # Of each placement there is one.
    assert pool.explained == [own.headers["x-request-id"]] * 3 + ["job-7"] * 3
    assert not [name for name in own.headers if name.startswith("x-forebay")]


async def test_every_hundredth_id_is_of_a_share_of_one_per_cent() -> None:
    chance = Random(1)
    ids = [f"{chance.getrandbits(128):032x}" for _ in range(20_000)]
    assert 150 < sum(is_sampled(each, 0.01) for each in ids) < 250
    assert all(is_sampled(each, 1.0) for each in (*ids, "f" * 32, "0" * 32))
    assert not any(is_sampled(each, 0.0) for each in (*ids, "f" * 32, "0" * 32))
