"""A request whose only rank takes no connection asks it again for as long as it would wait for a rank."""

import asyncio

import pytest

from gateway import serving as serving_module
from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.running import eventually, nothing_is_held, serving
from tests.gateway.scripted_rank import scripted_rank
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
        assert len(pool.asked) == 3 + 10
        page = (await served.client.get("/metrics")).text
    assert 'retries_total{pool="sim",reason="unreachable"} 2.0' in page


async def test_without_a_wait_for_ranks_it_is_asked_as_often_as_any() -> None:
    pool = FakePool(card(f"http://127.0.0.1:{free_port()}"))
    async with serving(FakePools(pool), rank_wait_ms=0) as served:
        assert (await served.complete()).status_code == 502
    assert len(pool.asked) == 3
