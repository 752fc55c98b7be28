"""What happens to each path: whom it reaches, as what, and who may use it."""

from typing import Any

import pytest

from gateway.auth import KeyRing
from gateway.errors import UnauthorizedError, UnknownRouteError
from gateway.routes import ADMIN_PATHS, CLIENT_PATHS, ROUTES, Kind, Route
from tests.gateway.fake_pools import FakePool, FakePools, card, pools_of_nobody
from tests.gateway.form import FORM_TYPE, field, file, form
from tests.gateway.running import Served, eventually, nothing_is_held, serving
from tests.gateway.scripted_rank import Exchange, scripted_rank

TEXT = "word " * 80
JSON_BODY = b'{"model": "sim",  "input": "' + TEXT.encode() + b'", "messages": [{"role":"user","content":"\\u00e9"}]}'
FORM_BODY = form(field("model", "sim"), file(b"RIFF" * 100))
ADMIN = {"authorization": "Bearer root-key"}

SERVED = [route for route in ROUTES if route.kind is not Kind.STICKY]
OFFER = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13", "sec-websocket-key": "YWE="}


def ids(route: Route) -> str:
    return f"{route.method} {route.path}"


async def ask(served: Served, route: Route, query: str = "?x=%20a&y", **headers: str) -> Any:
    """Send what the route takes."""
    if route.kind is Kind.TUNNELLING:
        headers |= OFFER
    body, content_type = (FORM_BODY, FORM_TYPE) if route.kind is Kind.UPLOADING else (JSON_BODY, "application/json")
    return await served.client.request(
        route.method,
        route.path + query,
        content=body if route.method == "POST" else None,
        headers={"content-type": content_type, **headers},
    )


async def answers(exchange: Exchange) -> None:
    await exchange.answer("200 OK", b'{"object": "list"}', "content-type: application/json", "x-of-rank: yes")


async def refuses(exchange: Exchange) -> None:
    await exchange.answer("404 Not Found", b'{"detail":"Not Found"}', "content-type: application/json")


@pytest.mark.parametrize("route", SERVED, ids=ids)
async def test_a_request_reaches_a_rank_as_it_came_and_nothing_is_held_after(route: Route) -> None:
    async with (
        scripted_rank(answers) as rank,
        serving(FakePools(pool := FakePool(card(rank.url))), admin_key="root-key") as served,
    ):
        response = await ask(served, route, **(ADMIN if route.kind is Kind.ADMIN else {}))
        await eventually(lambda: nothing_is_held(served, pool))
    assert response.status_code == 200
    (request,) = rank.requests
    assert request.line == f"{route.method} {route.path}?x=%20a&y HTTP/1.1"
    if route.method == "POST":
        assert request.body == (FORM_BODY if route.kind is Kind.UPLOADING else JSON_BODY)
        assert request.header("content-type") in (FORM_TYPE, "application/json")
    assert request.header("authorization") is None
    if route.kind is not Kind.ADMIN:
        assert (response.content, response.headers["x-of-rank"]) == (b'{"object": "list"}', "yes")
        assert (pool.words()[0], pool.words()[-1]) == ("dispatched", "released")


@pytest.mark.parametrize("route", [route for route in SERVED if route.kind is not Kind.ADMIN], ids=ids)
async def test_what_a_rank_refuses_is_refused_in_its_words(route: Route) -> None:
    async with scripted_rank(refuses) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        response = await ask(served, route)
        await eventually(lambda: nothing_is_held(served, pool))
    assert (response.status_code, response.content) == (404, b'{"detail":"Not Found"}')


TOKENS = {Kind.GENERATING: (102, 256), Kind.COMPUTING: (102, 0), Kind.COUNTING: (1, 0)}
"""Of the texts in the body: 400 bytes, a role and a letter."""


@pytest.mark.parametrize("route", [route for route in ROUTES if route.kind in TOKENS], ids=ids)
async def test_a_request_is_placed_by_its_kind(route: Route) -> None:
    async with scripted_rank(answers) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        await ask(served, route)
    (shape,) = pool.asked
    assert (shape.prompt_tokens, shape.output_tokens) == TOKENS[route.kind]
    assert not shape.pairable


@pytest.mark.parametrize("route", ROUTES, ids=ids)
async def test_another_method_is_a_405(route: Route) -> None:
    async with serving(pools_of_nobody(), admin_key="root-key") as served:
        others = {"GET", "POST", "PUT", "DELETE", "HEAD"} - {route.method}
        if route.path == "/v1/responses/render":
            others -= {"GET"}  # of a response with that id
        for method in others:
            response = await served.client.request(method, route.path, headers=ADMIN)
            assert (response.status_code, response.headers["allow"]) == (405, route.method)


@pytest.mark.parametrize("path", sorted(CLIENT_PATHS))
def test_a_clients_path_takes_a_clients_key(path: str) -> None:
    keys = KeyRing(["client-key"], "root-key")
    keys.check(path, b"Bearer client-key")
    for wrong in (None, b"Bearer root-key"):
        with pytest.raises(UnauthorizedError):
            keys.check(path, wrong)
    KeyRing([], "root-key").check(path, None)


@pytest.mark.parametrize("path", sorted(ADMIN_PATHS))
def test_what_changes_ranks_takes_the_admin_key_and_is_not_there_without_one(path: str) -> None:
    keys = KeyRing(["client-key"], "root-key")
    keys.check(path, b"Bearer root-key")
    for wrong in (None, b"Bearer client-key"):
        with pytest.raises(UnauthorizedError):
            keys.check(path, wrong)
    with pytest.raises(UnknownRouteError):
        KeyRing(["client-key"], "").check(path, b"Bearer client-key")


async def test_the_docs_name_every_route_of_clients() -> None:
    async with serving(pools_of_nobody()) as served:
        paths = (await served.client.get("/openapi.json")).json()["paths"]
    assert paths.keys() >= CLIENT_PATHS
    assert not paths.keys() & ADMIN_PATHS
