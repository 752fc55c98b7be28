"""A request whose only rank takes no connection asks it again for as long as it would wait for a rank."""

import asyncio
from unittest.mock import patch

import pytest

from gateway import rank_wait
from gateway import serving as serving_module
from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.running import eventually, nothing_is_held, serving
from tests.gateway.scripted_rank import scripted_rank, stalls
from tests.ports import free_port

LONG_MS = 600_000


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_module, "ASKED_AGAIN_S", 0.02)


@pytest.mark.parametrize("stream", [False, True])
async def test_it_is_served_once_the_rank_is_back(stream: bool) -> None:
    pool = FakePool(card(f"http://127.0.0.1:{(port := free_port())}"))
    async with serving(FakePools(pool), rank_wait_ms=LONG_MS) as served, asyncio.TaskGroup() as clients:
        asking = clients.create_task(served.complete(stream=stream))
        await eventually(lambda: len(pool.asked) > 5)
        async with scripted_rank(port=port):
            assert (await asking).status_code == 200
        await eventually(lambda: nothing_is_held(served, pool))
        assert set(pool.releases().values()) == {1}


async def test_those_askings_are_no_retries() -> None:
    pool = FakePool(card(f"http://127.0.0.1:{free_port()}"))
    async with serving(FakePools(pool), rank_wait_ms=200) as served:
        assert (await served.complete()).status_code == 502
        assert 3 < len(pool.asked) <= 3 + 10
        page = (await served.client.get("/metrics")).text
    assert 'retries_total{pool="sim",reason="unreachable"} 2.0' in page


async def test_the_time_that_a_rank_takes_to_take_no_connection_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_module, "ASKED_AGAIN_S", 0.001)
    async with scripted_rank(stalls) as rank:  # which never agrees on TLS
        pool = FakePool(card(rank.url.replace("http:", "https:")))
        async with serving(FakePools(pool), rank_wait_ms=300, connect_ms=100) as served:
            assert (await served.complete()).status_code == 502
    assert 3 < len(pool.asked) <= 3 + 3


async def test_of_those_that_ask_again_no_more_wait_than_for_a_rank() -> None:
    pool = FakePool(card(f"http://127.0.0.1:{free_port()}"))
    with patch.object(rank_wait, "MOST_WAITING", 3):
        async with serving(FakePools(pool), rank_wait_ms=LONG_MS) as served, asyncio.TaskGroup() as clients:
            asking = [clients.create_task(served.complete()) for _ in range(5)]
            await eventually(lambda: sum(each.done() for each in asking) == 2)
            assert {each.result().status_code for each in asking if each.done()} == {502}
            for each in asking:
                each.cancel()


async def test_without_a_wait_for_ranks_it_is_asked_as_often_as_any() -> None:
    pool = FakePool(card(f"http://127.0.0.1:{free_port()}"))
    async with serving(FakePools(pool), rank_wait_ms=0) as served:
        assert (await served.complete()).status_code == 502
    assert len(pool.asked) == 3
