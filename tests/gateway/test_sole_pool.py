"""A gateway with one pool sends it whatever a request names: what its ranks are called, they know."""

import asyncio
import json

from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.running import eventually, serving
from tests.gateway.scripted_rank import Exchange, scripted_rank

LISTED = {"object": "list", "data": [{"id": "sim", "object": "model"}, {"id": "an-adapter", "object": "model"}]}


async def lists_models(exchange: Exchange) -> None:
    await exchange.answer("200 OK", json.dumps(LISTED).encode(), "content-type: application/json")


async def test_a_model_of_any_name_goes_to_the_pool_as_it_was_sent() -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url))), pool_name="sim") as served:
        response = await served.complete(model="an-adapter")
    assert response.status_code == 200
    assert json.loads(rank.requests[0].body)["model"] == "an-adapter"


async def test_the_models_are_those_a_rank_lists_adapters_among_them() -> None:
    async with (
        scripted_rank(lists_models) as rank,
        serving(FakePools(FakePool(card(rank.url))), pool_name="sim") as served,
    ):
        response = await served.client.get("/v1/models")
    assert response.json() == LISTED


async def test_before_the_pool_is_there_a_client_is_asked_to_come_back() -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url))), pool_name="other") as served:
        response = await served.complete()
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert rank.requests == []


async def test_whoever_comes_before_the_pool_waits_for_it() -> None:
    async with scripted_rank() as rank:
        late = FakePools()
        async with serving(late, pool_name="sim", rank_wait_ms=30_000) as served, asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(served.complete())
            await eventually(lambda: served.gateway.rank_wait.waiting == 1)
            late.lost["sim"] = FakePool(card(rank.url))
    assert asked.result().status_code == 200
