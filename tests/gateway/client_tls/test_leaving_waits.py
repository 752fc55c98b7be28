"""Clients over TLS that leave while their requests wait are noticed at once, too."""

import pytest

from scheduler.decision import Reject
from tests.gateway.client_tls.test_streams import FILES, connected
from tests.gateway.fake_pools import NOWHERE, FakePool, FakePools
from tests.gateway.running import eventually, nothing_is_held, serving
from tests.gateway.test_leaving_waits import COMPLETION, LONG_MS, upload
from tests.gateway.websocket_rank import reset


@pytest.mark.parametrize("raw", [COMPLETION, upload(500_000)], ids=["completion", "upload that is not taken in"])
async def test_while_there_is_no_rank(raw: bytes) -> None:
    pool = FakePool(NOWHERE, answer=Reject(reason="no rank of sim is up"))
    async with serving(FakePools(pool), rank_wait_ms=LONG_MS, **FILES) as served:
        waiting = served.gateway.rank_wait
        async with connected(served, raw) as client:
            await eventually(lambda: waiting.waiting == 1)
            reset(client.writer.transport)  # closed in order, it would wait for an answer to its goodbye
        await eventually(lambda: waiting.waiting == 0 and nothing_is_held(served, pool))
