"""One stage of a run: a fleet, its load and its faults, and what is left of both when all is quiet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from tests.chaos import faketime
from tests.chaos.conducting import Conductor
from tests.chaos.fleet import Fleet, fleet
from tests.chaos.kinds import MENDED_WITHIN_S, Part, possible
from tests.chaos.load import Load
from tests.chaos.looks import Resources
from tests.chaos.partitions import partitions
from tests.chaos.promises import AtRest
from tests.chaos.report import StageReport
from tests.chaos.router import wait_for_router
from tests.chaos.schedule import schedule
from tests.chaos.settings import ChaosSettings, Stage
from tests.chaos.watching import Auditor, at_rest, resources, starving
from tests.namespace import hindrance
from tests.polling import until

Say = Callable[[str], None]
WARM_UP = 24


async def run_stage(
    folder: Path, stage: Stage, settings: ChaosSettings, requests: int, faults: int, say: Say
) -> StageReport:
    """Runs it to its end; what it started has ended when this returns or raises."""
    settings = stage.of(settings)
    kinds, left_out = possible(
        settings.kinds, stage.store, has_faketime=faketime.is_there(), theirs=bool(settings.against)
    )
    parts: dict[Part, int] = {
        "rank": settings.ranks,
        "gateway": settings.gateways,
        "agent": settings.agents,
        "store": settings.gateways,
    }
    faults = settings.rounds * len(kinds) or faults
    cuts = partitions(settings.partitions, hindrance(), theirs=bool(settings.against))
    say(f"{stage.name}: {requests} requests, {faults} faults; logs in {folder}")
    say(f"partitions are made {cuts.words}")
    planned = schedule(settings.seed, kinds, faults, settings.every_s, parts)
    async with fleet(folder, stage, settings, cuts.means) as running:
        load = await _clients(running, settings, say)
        before = _resources(running)
        conductor = Conductor(running, planned, settings.overlap, say)
        auditor = Auditor(running)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(conductor.run(), name="faults")
            sending = tasks.create_task(load.run(requests, lambda: not conductor.is_done), name="load")
            if not settings.against:
                tasks.create_task(auditor.run(lambda: not sending.done()), name="audits")
        await asyncio.sleep(MENDED_WITHIN_S)
        await conductor.count_retries()
        rest = None if settings.against else await _rest(running, load, auditor, before)
        _say_outcome(load, say)
        return StageReport(
            name=f"{stage.ranks} ranks behind {settings.against}" if settings.against else stage.name,
            outcomes=load.outcomes,
            faults=conductor.faults,
            kills=conductor.kills,
            rest=rest,
            left_out=left_out,
            partitions=cuts,
            overlap=settings.overlap,
        )


async def _clients(running: Fleet, settings: ChaosSettings, say: Say) -> Load:
    """Warm: each process has served before it is measured."""
    if settings.against:
        port = await wait_for_router(settings.against, [each.port for each in running.rank_links], say)
        load = Load(settings, [port], lambda *_: False)
    else:
        load = Load(settings, running.gateway_ports, running.is_excused)
    await load.tiny(WARM_UP)
    return load


async def _rest(running: Fleet, load: Load, auditor: Auditor, before: dict[str, Resources]) -> AtRest:
    up = await _is_up(running)
    hungry = await starving(running, load)
    left = await at_rest(running, auditor)
    return AtRest(
        reservations=left,
        audits=auditor.audits,
        differences=auditor.differences,
        starving=hungry,
        ended=[process.name for process in running.processes if not process.runs],
        all_up=up,
        before=before,
        after=_resources(running),
    )


async def _is_up(running: Fleet) -> bool:
    try:
        await until(running.all_up, "all ranks are up again", pause_s=0.1)
    except AssertionError:
        return False
    return True


def _resources(running: Fleet) -> dict[str, Resources]:
    return {each.name: resources(each) for each in (*running.gateways, *running.agents) if each.runs}


def _say_outcome(load: Load, say: Say) -> None:
    bad = [each for each in load.outcomes if each.judgment not in ("whole", "left")]
    say(f"{len(load.outcomes)} requests, {len(bad)} neither whole nor left by their clients")
