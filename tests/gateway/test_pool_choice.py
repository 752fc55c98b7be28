"""Which pool a request is for, and what is told where there is none for it."""

import pytest

from scheduler.decision import Reject, Wait
from tests.gateway.fake_pools import NOWHERE, FakePool, FakePools, card, pools_of_nobody
from tests.gateway.running import COMPLETIONS, checked_error, error_of, post, serving
from tests.gateway.scripted_rank import scripted_rank


@pytest.mark.parametrize("stream", [False, True])
async def test_an_unknown_model_is_a_404_in_vllms_words(stream: bool) -> None:
    fakes = pools_of_nobody()
    async with serving(fakes) as served:
        response = await served.complete(model="nope", stream=stream)
    assert response.status_code == 404
    assert error_of(response) == {
        "message": "The model `nope` does not exist. Valid aliases: sim.",
        "type": "NotFoundError",
        "param": "model",
        "code": 404,
    }
    assert fakes.placed == 0


async def test_of_a_long_name_only_the_beginning_is_quoted() -> None:
    async with serving(pools_of_nobody()) as served:
        exact = error_of(await served.complete(model="m" * 100))
        longer = error_of(await served.complete(model="m" * 1_000_000))
    assert f"`{'m' * 100}`" in exact["message"]
    assert longer["message"] == f"The model `{'m' * 100}…` does not exist. Valid aliases: sim."


async def test_without_a_model_the_only_pool_is_meant() -> None:
    async with scripted_rank() as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        for body in (b'{"prompt":"x"}', b'{"prompt":"x","model":null}', b'{"prompt":"x","model":""}'):
            status, _, _ = await served.send(post(COMPLETIONS, body))
            assert status == 200
    assert len(pool.asked) == 3


async def test_without_a_model_several_pools_are_too_many() -> None:
    fakes = pools_of_nobody("one", "two")
    async with serving(fakes) as served:
        status, _, body = await served.send(post(COMPLETIONS, b'{"prompt":"x"}'))
    error = checked_error(400, body)
    assert (status, error["param"]) == (400, "model")
    assert "one, two" in error["message"]
    assert fakes.placed == 0


async def test_without_any_pool_the_client_is_asked_to_come_back() -> None:
    async with serving(FakePools()) as served:
        status, headers, body = await served.send(post(COMPLETIONS, b'{"prompt":"x"}'))
        unknown = await served.complete()
    assert (status, headers["retry-after"]) == (503, "1")
    checked_error(503, body)
    assert unknown.status_code == 404


async def test_a_pool_that_lost_its_ranks_a_moment_ago_is_no_unknown_model() -> None:
    fakes = pools_of_nobody()
    fakes.lost["lost"] = FakePool(name="lost", answer=Reject(reason="no rank of lost can take a request now"))
    async with serving(fakes, rank_wait_ms=0) as served:
        response = await served.complete(model="lost")
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert error_of(response)["message"] == "no rank of lost can take a request now"


async def test_a_full_pool_is_a_429_and_one_without_ranks_a_503() -> None:
    full = FakePool(NOWHERE, name="full", answer=Wait(retry_after_ms=1_200))
    down = FakePool(NOWHERE, name="down", answer=Reject(reason="no rank of down is up"))
    async with serving(FakePools(full, down), rank_wait_ms=0) as served:
        too_many = await served.complete(model="full")
        none_up = await served.complete(model="down")
        page = (await served.client.get("/metrics")).text
    assert (too_many.status_code, too_many.headers["retry-after"]) == (429, "2")
    assert error_of(too_many)["type"] == "RateLimitError"
    assert (none_up.status_code, none_up.headers["retry-after"]) == (503, "1")
    assert error_of(none_up)["message"] == "no rank of down is up"
    assert full.history == down.history == []
    assert 'forebay_gateway_not_placed_total{answer="wait",pool="full"} 1.0' in page
