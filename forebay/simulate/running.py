"""One run of the cluster simulation, as the options describe it."""

from __future__ import annotations

from collections.abc import Sequence

from forebay.simulate.cases import Case
from forebay.simulate.settings import SimulateSettings
from simulator.cluster.fleet import FleetSettings, run
from simulator.cluster.outcome import Outcome
from simulator.cluster.request import SimRequest


def run_fleet(settings: SimulateSettings, requests: Sequence[SimRequest], case: Case, seed: int) -> list[Outcome]:
    """What becomes of the requests."""
    fleet = settings.fleet
    return run(
        requests,
        FleetSettings(
            prefill=fleet.prefill,
            decode=fleet.decode,
            mixed=fleet.mixed,
            timing=fleet.timing,
            max_num_seqs=fleet.max_num_seqs,
            max_num_batched_tokens=fleet.max_num_batched_tokens,
            kv_capacity_tokens=fleet.kv_capacity_tokens,
            gateways=case.gateways,
            snapshot_ms=fleet.snapshot_ms,
            report_ms=fleet.report_ms,
            report_late_ms=fleet.report_late_ms,
            network_ms=fleet.network_ms,
            store_ms=fleet.store_ms,
            policy=case.policy,
            store=settings.store,
            seed=seed,
        ),
    )
