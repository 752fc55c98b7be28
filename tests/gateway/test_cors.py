"""Web pages of other origins: what a browser asks first, and what it is let see."""

import json
from unittest.mock import patch

import httpx
import pytest

from gateway.settings import GatewaySettings
from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.running import COMPLETIONS, error_of, serving
from tests.gateway.scripted_rank import COMPLETION, EVENTS, Exchange, scripted_rank, streams

PAGE = "https://app.example"
KEY = "first-key"
PREFLIGHT = {
    "Origin": PAGE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,x-request-timeout-ms",
}


def origin_let_in(response: httpx.Response) -> str | None:
    found: str | None = response.headers.get("access-control-allow-origin")
    return found


async def test_a_browsers_page_asks_without_its_key_and_then_streams_with_it() -> None:
    async with (
        scripted_rank(streams) as rank,
        serving(FakePools(FakePool(card(rank.url))), cors_origin=(PAGE,), api_key=(KEY,)) as served,
    ):
        asked = await served.client.options(COMPLETIONS, headers=PREFLIGHT)
        assert (asked.status_code, origin_let_in(asked)) == (200, PAGE)
        assert "POST" in asked.headers["access-control-allow-methods"].split(", ")
        allowed = asked.headers["access-control-allow-headers"].lower()
        assert all(name in allowed for name in ("authorization", "content-type", "x-request-timeout-ms"))
        answer = await served.complete(headers={"Origin": PAGE, "Authorization": f"Bearer {KEY}"}, stream=True)
    assert (answer.status_code, origin_let_in(answer), answer.headers["vary"]) == (200, PAGE, "Origin")
    assert "x-request-id" in answer.headers["access-control-expose-headers"].split(", ")
    assert answer.content == b"".join(EVENTS)


async def test_a_page_can_read_why_it_was_refused() -> None:
    key = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    async with serving(FakePools(), cors_origin=(PAGE,), api_key=(KEY,), max_body_bytes=100) as served:
        refused = [
            await served.client.post(COMPLETIONS, headers={"Origin": PAGE}, json={}),
            await served.client.get("/nowhere", headers={"Origin": PAGE}),
            await served.client.get(COMPLETIONS, headers={"Origin": PAGE} | key),
            await served.client.post(COMPLETIONS, headers={"Origin": PAGE} | key, content=b" " * 101),
        ]
    assert [answer.status_code for answer in refused] == [401, 404, 405, 413]
    assert [origin_let_in(answer) for answer in refused] == [PAGE] * 4


async def test_pages_of_other_origins_are_not_let_in() -> None:
    async with serving(FakePools(), cors_origin=(PAGE, "http://localhost:3000")) as served:
        asked = await served.client.options(COMPLETIONS, headers=PREFLIGHT | {"Origin": "https://other.example"})
        answer = await served.client.get("/v1/models", headers={"Origin": "https://other.example"})
        second = await served.client.get("/v1/models", headers={"Origin": "http://localhost:3000"})
    assert (asked.status_code, origin_let_in(asked)) == (400, None)
    assert (answer.status_code, origin_let_in(answer)) == (200, None)
    assert origin_let_in(second) == "http://localhost:3000"


@pytest.mark.parametrize(("asking", "let_in"), [("https://other.example", None), (PAGE, PAGE)])
@pytest.mark.parametrize("stream", [False, True])
async def test_who_is_let_in_is_not_for_a_rank_to_say(asking: str, let_in: str | None, *, stream: bool) -> None:
    """vLLM lets pages of any origin in, unless told otherwise."""

    async def says_so(exchange: Exchange) -> None:
        kind = "text/event-stream" if stream else "application/json"
        lets_in = ("Access-Control-Allow-Origin: *", "access-control-allow-credentials: true")
        await exchange.answer("200 OK", b"".join(EVENTS) if stream else COMPLETION, f"content-type: {kind}", *lets_in)

    async with (
        scripted_rank(says_so) as rank,
        serving(FakePools(FakePool(card(rank.url))), cors_origin=(PAGE,)) as served,
    ):
        answer = await served.complete(headers={"Origin": asking}, stream=stream)
    assert (answer.status_code, origin_let_in(answer)) == (200, let_in)
    assert "access-control-allow-credentials" not in answer.headers


async def test_a_star_lets_pages_of_any_origin_in() -> None:
    async with serving(FakePools(), cors_origin=("*",)) as served:
        answer = await served.client.get("/v1/models", headers={"Origin": "https://other.example"})
    assert origin_let_in(answer) == "*"


async def test_without_the_option_no_page_is_let_in() -> None:
    async with serving(FakePools()) as served:
        asked = await served.client.options(COMPLETIONS, headers=PREFLIGHT)
        answer = await served.client.get("/v1/models", headers={"Origin": PAGE})
    assert asked.status_code == 405
    assert origin_let_in(asked) is origin_let_in(answer) is None
    assert json.loads(asked.content)["error"]["code"] == 405


@pytest.mark.parametrize("origin", ["app.example", "https://app.example/", "https://APP.example", "null", ""])
def test_what_no_browser_sends_as_an_origin_is_refused(origin: str) -> None:
    with pytest.raises(ValueError, match=r"^cors_origin: expected \* or SCHEME://HOST\[:PORT\] without a path"):
        GatewaySettings(redis="redis://x", cors_origin=(origin,))


@pytest.mark.parametrize("path", [COMPLETIONS, "/metrics"])
async def test_a_page_sees_that_a_gateway_is_at_fault(path: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(FakePools(FakePool(card("http://127.0.0.1:9"))), cors_origin=(PAGE,)) as served:
        with (
            patch.object(served.gateway, "pool_for", side_effect=ArithmeticError("a fault")),
            patch.object(served.gateway, "metrics_page", side_effect=ArithmeticError("a fault")),
        ):
            method = "POST" if path == COMPLETIONS else "GET"
            answer = await served.client.request(method, path, json={"prompt": "x"}, headers={"Origin": PAGE})
    assert (answer.status_code, origin_let_in(answer)) == (500, PAGE)
    assert error_of(answer)["message"] == "Internal server error"
    assert "x-request-id" in answer.headers
    assert "a fault" in caplog.text
