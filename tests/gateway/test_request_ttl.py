"""No request lives longer than it may, and what it held is given back."""

import pytest

from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.running import COMPLETIONS, error_of, eventually, nothing_is_held, serving
from tests.gateway.scripted_rank import scripted_rank, stalls, stalls_after_an_event


async def test_a_request_that_outlives_its_time_ends_with_a_504_and_is_given_back() -> None:
    async with scripted_rank(stalls) as rank:
        pool = FakePool(card(rank.url))
        async with serving(FakePools(pool), request_ttl_s=0.1) as served:
            response = await served.complete()
            await eventually(lambda: nothing_is_held(served, pool))
    assert response.status_code == 504
    assert error_of(response)["message"] == "The request took longer than the 0.1 s it was given"


async def test_a_stream_that_outlives_its_time_ends_with_an_error_event() -> None:
    async with scripted_rank(stalls_after_an_event) as rank:
        pool = FakePool(card(rank.url))
        async with serving(FakePools(pool), request_ttl_s=1) as served:
            response = await served.complete(stream=True)
            await eventually(lambda: nothing_is_held(served, pool))
    assert response.status_code == 200
    assert "The request took longer than the 1 s it was given" in response.text
    assert "[DONE]" not in response.text


@pytest.mark.parametrize(("gateways_s", "clients_ms"), [(60, "100"), (0.1, "60000")])
async def test_the_shorter_of_a_clients_time_and_the_gateways_holds(gateways_s: float, clients_ms: str) -> None:
    async with (
        scripted_rank(stalls) as rank,
        serving(FakePools(FakePool(card(rank.url))), request_ttl_s=gateways_s) as served,
    ):
        body = {"model": "sim", "prompt": "x"}
        response = await served.client.post(COMPLETIONS, json=body, headers={"x-request-timeout-ms": clients_ms})
    assert error_of(response)["message"] == "The request took longer than the 0.1 s it was given"
