"""Whatever a client writes, connections go to registered ranks and nowhere else."""

import json

import pytest

from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.rank_http.raw_rank import OK, answering, raw_rank
from tests.gateway.running import COMPLETIONS, post, serving
from tests.gateway.scripted_rank import COMPLETION, Exchange, scripted_rank


async def answers(exchange: Exchange) -> None:
    await exchange.answer("200 OK", COMPLETION, "content-type: application/json")


BODY = b'{"prompt":"Once"}'


def line(target: str, host: str = "gateway") -> bytes:
    return (
        post("/", BODY)
        .replace(b"POST / ", f"POST {target} ".encode())
        .replace(b"Host: gateway", f"Host: {host}".encode())
    )


REQUESTS = {
    "absolute form": lambda other: line(f"http://{other}{COMPLETIONS}"),
    "absolute form with a login": lambda other: line(f"http://gateway@{other}{COMPLETIONS}"),
    "the other's Host": lambda other: line(COMPLETIONS, other),
    "two slashes": lambda other: line(f"//{other}{COMPLETIONS}"),
    "a login in the path": lambda other: line(f"/@{other}{COMPLETIONS}"),
    "dots": lambda other: line(f"/v1/../../{other}{COMPLETIONS}"),
    "authority form": lambda other: post("/", BODY).replace(b"POST / ", f"CONNECT {other} ".encode()),
    "a query that is a URL": lambda other: line(f"{COMPLETIONS}?url=http://{other}/"),
    "an escaped line": lambda other: line(f"{COMPLETIONS}?x=%0d%0aHost:%20{other}"),
    "a broken line": lambda other: line(f"{COMPLETIONS}?x=\rHost: {other}"),
    "forwarding headers": lambda other: post(
        COMPLETIONS, BODY, f"X-Forwarded-Host: {other}", f"Forwarded: host={other}", f"X-Original-URL: http://{other}/"
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_target_leads_to_no_other_host(name: str) -> None:
    async with raw_rank(answering(OK)) as other, scripted_rank(answers) as rank:
        address = other.url.removeprefix("http://")
        async with serving(FakePools(FakePool(card(rank.url)))) as served:
            status, _, _ = await served.send(REQUESTS[name](address))
            assert status in {200, 400, 404, 405}
        assert other.connections == 0
        for request in rank.requests:
            assert request.header("host") == rank.url.removeprefix("http://")
            assert request.line.startswith(f"POST {COMPLETIONS}")


async def test_kv_params_of_a_client_lead_to_no_other_host() -> None:
    async with raw_rank(answering(OK)) as other, scripted_rank(answers) as rank:
        _, _, port = other.url.rpartition(":")
        params = {
            "do_remote_prefill": True,
            "remote_host": "127.0.0.1",
            "remote_port": int(port),
            "remote_engine_id": "x",
        }
        async with serving(FakePools(FakePool(card(rank.url)))) as served:
            assert (await served.complete(kv_transfer_params=params)).status_code == 200
        assert other.connections == 0
        assert "kv_transfer_params" not in json.loads(rank.requests[-1].body)


@pytest.mark.parametrize("path", [COMPLETIONS, "/tokenize", "/v1/responses/resp_1"])
async def test_an_answer_that_leads_elsewhere_leads_neither_the_gateway_nor_its_client(path: str) -> None:
    """An Anthropic client would bring the other host its key."""
    async with raw_rank(answering(OK)) as other:

        async def leads_away(exchange: Exchange) -> None:
            await exchange.answer("307 Temporary Redirect", b"", f"location: {other.url}/")

        async with scripted_rank(leads_away) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
            served.gateway.kept.note("resp_1", "sim", next(iter(pool.view.ranks.values())).card)
            method = "GET" if "resp_1" in path else "POST"
            body = {"prompt": "x"} if method == "POST" else None
            response = await served.client.request(method, path, json=body, follow_redirects=True)
        assert (response.status_code, other.connections) == (502, 0)
        assert "location" not in response.headers
        assert set(pool.heard_of) == {(rank.url.removeprefix("http://"), False)}


@pytest.mark.parametrize(
    "endpoint",
    ["file:///etc/passwd", "http://a b:1", "http://user@127.0.0.1:1", "http://127.0.0.1:1\r\nx: y", "127.0.0.1:1"],
)
async def test_a_card_with_an_endpoint_that_is_none_is_a_rank_that_cannot_be_reached(endpoint: str) -> None:
    async with serving(FakePools(FakePool(card(endpoint)))) as served:
        assert (await served.complete()).status_code == 502
