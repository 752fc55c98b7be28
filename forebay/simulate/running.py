"""One run of the cluster simulation, as the options describe it."""

from __future__ import annotations

from collections.abc import Sequence

from forebay.simulate.cases import Case
from forebay.simulate.settings import MEMORY, SimulateSettings
from simulator.cluster.fleet import Fleet, run
from simulator.cluster.outcome import Outcome
from simulator.cluster.redis_store import redis_store
from simulator.cluster.request import SimRequest
from simulator.cluster.store_link import EPOCH_MS


def run_fleet(settings: SimulateSettings, requests: Sequence[SimRequest], case: Case, seed: int) -> list[Outcome]:
    """What becomes of the requests; raises SchedulerError where the store is a Redis that cannot be used."""
    fleet_settings = settings.fleet.settings_of(case, seed)
    if settings.store == MEMORY:
        return run(requests, fleet_settings, settings.clients)
    with redis_store(settings.store, EPOCH_MS) as store:
        return Fleet(fleet_settings, store).run(requests, settings.clients)
