"""How long a request waits in all, and how much of the time that its client gives is left then."""

import time
from unittest.mock import patch

import anyio
import pytest
from prometheus_client import CollectorRegistry

from gateway import rank_wait
from gateway.access import RequestRecord
from gateway.errors import DeadlineExceededError
from gateway.rank_wait import RankWait
from gateway.shape import NO_LOAD
from scheduler.decision import Decision, Reject
from tests.gateway.fake_pools import NOWHERE, FakePool, FakePools
from tests.gateway.form import FORM_TYPE, field, file, form
from tests.gateway.named_keys import bearing
from tests.gateway.running import DEADLINE_S, serving

NONE_UP = Reject(reason="no rank of sim is up")
LONG_MS = 600_000


def a_record() -> RequestRecord:
    return RequestRecord(id="1", client_id=None, route="", started_s=0.0)


async def test_however_often_a_request_waits_it_waits_no_longer_in_all() -> None:
    async def place() -> Decision:
        return NONE_UP

    waits, record = RankWait(0.05, CollectorRegistry()), a_record()
    pool = FakePool()
    with anyio.fail_after(DEADLINE_S):
        for _ in range(1_000):
            await waits.until(anyio.Event(), record)
            await waits.comes(pool, NO_LOAD, record)
            assert await waits.decide(pool, NO_LOAD, frozenset(), place, record) is NONE_UP
    assert record.waited_s >= 0.05


async def test_it_waits_for_what_is_left_of_its_time() -> None:
    waits, record = RankWait(LONG_MS / 1000, CollectorRegistry()), a_record()
    record.waited_s = LONG_MS / 1000 - 0.02
    with anyio.fail_after(DEADLINE_S):
        await waits.until(anyio.Event(), record)
    assert waits.waiting == 0


async def test_the_time_that_a_client_gives_runs_out_while_its_key_waits_too() -> None:
    headers = bearing("team") | {"x-request-timeout-ms": "20"}
    async with serving(FakePools(FakePool(NOWHERE)), rank_wait_ms=LONG_MS) as served:
        served.gateway.keys._named = {"redis": None}
        served.gateway.readiness._knows_keys = anyio.Event()
        assert (await served.complete(headers)).status_code == 504
        assert (await served.client.get("/v1/models", headers=headers)).status_code == 504


async def test_the_time_that_a_client_gives_is_counted_from_its_head_on() -> None:
    async with serving(FakePools()) as served:
        came_s = time.monotonic() - 3_600.0
        with pytest.raises(DeadlineExceededError), served.gateway.living(3_600.0, since_s=came_s):
            await anyio.sleep(DEADLINE_S)


async def test_what_is_held_of_a_form_that_waits_is_bounded_too() -> None:
    content = form(field("model", "sim"), file(bytes(5_000)))
    pool = FakePool(NOWHERE, answer=NONE_UP)
    with patch.object(rank_wait, "MOST_WAITING_BYTES", 4_000):
        async with serving(FakePools(pool), rank_wait_ms=LONG_MS) as served:
            headers = {"content-type": FORM_TYPE}
            response = await served.client.post("/v1/audio/transcriptions", content=content, headers=headers)
    assert response.status_code == 503
