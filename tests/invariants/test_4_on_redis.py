"""Invariant 4 on a real Redis: a process that is killed, a server that is stopped for longer than a lease."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from scheduler.settings import SchedulerSettings
from tests.invariants.real_fleet import RealFleet, ledger_count, ledger_records, real_fleet
from tests.polling import until
from tests.servers import needs_redis, redis_server

pytestmark = needs_redis
ROOT = Path(__file__).parents[2]
SHORT_LEASES = SchedulerSettings(lease_ms=600, renew_ms=50)
FREEZE_S = 1.0


async def requests_on_ranks(fleet: RealFleet) -> dict[str, int]:
    return {life: sums.requests for life, sums in (await ledger_count(fleet.store)).lives.items()}


@pytest.mark.parametrize("requests", [20, 700])
async def test_a_gateway_process_that_is_killed_leaves_nothing_and_the_others_keep_theirs(
    tmp_path: Path, requests: int
) -> None:
    with redis_server(tmp_path) as server:
        async with real_fleet(server.url, SchedulerSettings()) as fleet:
            for _ in range(20):
                await fleet.place()
            command = (sys.executable, "-m", "tests.invariants.gateway_process", server.url, str(requests))
            doomed = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
            try:
                assert doomed.stdout is not None
                assert await doomed.stdout.readline() == b"holds\n"
                assert len(await ledger_records(fleet.store)) == 20 + requests
            finally:
                doomed.kill()
                await doomed.wait()
            await until(fleet.is_settled, "the killed gateway's reservations are gone")


@pytest.mark.usefixtures("hasty_store")
async def test_a_redis_that_is_stopped_for_longer_than_a_lease_reaps_nobody(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with real_fleet(server.url, SHORT_LEASES) as fleet:
            for _ in range(30):
                await fleet.place()
            await until(fleet.is_settled, "all is told")
            requests = await requests_on_ranks(fleet)
            os.kill(server.pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(FREEZE_S)
            finally:
                os.kill(server.pid, signal.SIGCONT)
            for _ in range(20):
                assert await requests_on_ranks(fleet) == requests
            await until(fleet.is_settled, "all gateways are back")
