"""What is looked at while a run goes on, and when it is at rest: the ledger, memory, descriptors, starving ranks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from forebay.bench.proc import resident_bytes
from tests.chaos.audit import audit
from tests.chaos.fleet import Fleet, now_s
from tests.chaos.load import Load
from tests.chaos.looks import GatewayKill, Resources
from tests.chaos.placement_times import Buckets, buckets, gained, total
from tests.chaos.processes import Running

AUDIT_EVERY_S = 0.5
REST_WITHIN_S = 15.0
FED_WITHIN_S = 60.0
KILL_LOOK_S = 1.0
LEDGER_WITHIN_S = 15.0
LEDGER_POLL_S = 0.05


class Auditor:
    """Compares the ledger with its recount, again and again."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.audits = 0
        self.differences: list[str] = []

    async def run(self, goes_on: Callable[[], bool]) -> None:
        """Until told otherwise."""
        while goes_on():
            await self.look()
            await asyncio.sleep(AUDIT_EVERY_S)

    async def look(self) -> int | None:
        """Once; the number of reservations."""
        found = await audit(await self._fleet.store.master_port())
        if found is None:
            return None
        self.audits += 1
        if found.difference:
            self.differences.append(found.difference)
        return found.reservations


async def at_rest(fleet: Fleet, auditor: Auditor) -> int:
    """The reservations that are left once nobody asks anything: 0 as soon as it is, or what there is at the end."""
    deadline_s, left = now_s() + REST_WITHIN_S, -1
    while now_s() < deadline_s:
        status = await fleet.status()
        left = -1 if status is None else status.reservations
        if left == 0 and await auditor.look() == 0:
            return 0
        await asyncio.sleep(AUDIT_EVERY_S)
    return left


async def starving(fleet: Fleet, load: Load) -> list[int]:
    """Ranks that get nothing though requests come; each request is a short one, several at a time."""
    before = [await fleet.served(rank) for rank in range(len(fleet.ranks))]
    deadline_s = now_s() + FED_WITHIN_S
    hungry = list(range(len(before)))
    while hungry and now_s() < deadline_s:
        await load.tiny(2 * len(before))
        hungry = [rank for rank in hungry if await fleet.served(rank) <= before[rank]]
    return hungry


def resources(process: Running) -> Resources:
    """Of a process that runs."""
    return Resources(resident_bytes([process.pid]), len(list(Path(f"/proc/{process.pid}/fd").iterdir())))


async def kill_watched(fleet: Fleet, gateway: int, kill: Callable[[], None]) -> GatewayKill:
    """Kills a gateway, with a look at the others' placements before and after, until its reservations are gone."""
    others = [number for number in range(len(fleet.gateways)) if number != gateway]
    first = await _looks(fleet, others)
    await asyncio.sleep(KILL_LOOK_S)
    second = await _looks(fleet, others)
    kill()
    killed_s = now_s()
    async with asyncio.TaskGroup() as tasks:
        ledger = tasks.create_task(_ledger_exact(fleet, gateway), name="the ledger after a kill")
        await asyncio.sleep(KILL_LOOK_S)
        third = await _looks(fleet, others)
    return GatewayKill(
        gateway=gateway,
        killed_s=killed_s,
        ledger_s=round(ledger.result() - killed_s, 3),
        before=dict(total(map(gained, first, second))),
        after=dict(total(map(gained, second, third))),
    )


async def _looks(fleet: Fleet, gateways: list[int]) -> list[Buckets]:
    return [buckets(page) for page in await asyncio.gather(*(fleet.metrics(number) for number in gateways))]


async def _ledger_exact(fleet: Fleet, gateway: int) -> float:
    """When (monotonic) nothing of the gateway is in the ledger any more."""
    address = f":{fleet.gateway_ports[gateway]}"
    deadline_s = now_s() + LEDGER_WITHIN_S
    while now_s() < deadline_s:
        status = await fleet.status()
        if status and not any(each.reservations for each in status.gateways if each.address.endswith(address)):
            break
        await asyncio.sleep(LEDGER_POLL_S)
    return now_s()
