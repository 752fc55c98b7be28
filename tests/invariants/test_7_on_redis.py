"""Invariant 7 on a real Redis: it is killed, or stopped, and requests go on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from scheduler.decision import Place
from scheduler.settings import SchedulerSettings
from tests.invariants.real_fleet import real_fleet
from tests.polling import until
from tests.servers import needs_redis, redis_server

pytestmark = needs_redis


async def test_with_redis_killed_every_request_is_placed_and_told_when_it_is_back(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with real_fleet(server.url, SchedulerSettings()) as fleet:
            for _ in range(20):
                await fleet.place()
            server.stop()
            for _ in range(20):
                decision = await fleet.place()
                assert isinstance(decision, Place)
                assert decision.alone
            fleet.release(10)
            assert all(gateway.degraded and gateway.ready for gateway in fleet.gateways)
            server.start()
            await until(fleet.is_settled, "all is told")
            await until(lambda: not any(gateway.degraded for gateway in fleet.gateways), "ranks are known")
            decision = await fleet.place()
            assert isinstance(decision, Place)
            assert not decision.alone


@pytest.mark.usefixtures("hasty_store")
async def test_with_redis_stopped_every_request_is_placed(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with real_fleet(server.url, SchedulerSettings()) as fleet:
            os.kill(server.pid, signal.SIGSTOP)
            try:
                for _ in range(20):
                    decision = await fleet.place()
                    assert isinstance(decision, Place)
                    assert decision.alone
                assert all(gateway.degraded for gateway in fleet.gateways)
            finally:
                os.kill(server.pid, signal.SIGCONT)
            await until(fleet.is_settled, "all is told")
