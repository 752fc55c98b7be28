"""Runs every case of a simulation, once for each seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from itertools import islice, product
from pathlib import Path
from random import Random

from forebay.simulate.cases import Case
from forebay.simulate.report import CaseReport
from forebay.simulate.settings import DRAWN_REQUESTS, SimulateSettings
from simulator.cluster.figures import Run, figures
from simulator.cluster.load import at_load
from simulator.cluster.outcome import Outcome
from simulator.cluster.request import SimRequest
from simulator.cluster.slo import Slo
from simulator.cluster.workloads import WORKLOADS
from simulator.cluster.workloads.burst import with_burst
from simulator.cluster.workloads.part import part
from simulator.cluster.workloads.trace import read_trace

RunFleet = Callable[[Sequence[SimRequest], Case, int], Sequence[Outcome]]
"""What becomes of requests on the fleet of a case, for a seed."""


def simulate(
    settings: SimulateSettings,
    run_fleet: RunFleet,
    executor: Executor | None = None,
    ended: Callable[[], object] = lambda: None,
) -> Iterator[CaseReport]:
    """A report for each case in their order, when its last run has ended; raises WorkloadError.

    With an executor the runs are its, and `run_fleet` goes to where it has them done. `ended` is called for each run
    that has ended, and all before it.
    """
    run = partial(_run, settings, run_fleet)
    pairs = list(product(settings.cases, settings.seed_numbers))
    cases, seeds = [case for case, _ in pairs], [seed for _, seed in pairs]
    runs = executor.map(run, cases, seeds) if executor else map(run, cases, seeds)
    counted = _counted(runs, ended)
    for case in settings.cases:
        yield _report(settings, case, list(islice(counted, len(settings.seed_numbers))))


def _counted(runs: Iterable[Run], ended: Callable[[], object]) -> Iterator[Run]:
    for run in runs:
        ended()
        yield run


def _run(settings: SimulateSettings, run_fleet: RunFleet, case: Case, seed: int) -> Run:
    return Run(seed=seed, outcomes=run_fleet(requests_of(settings, case, seed), case, seed))


def requests_of(settings: SimulateSettings, case: Case, seed: int) -> list[SimRequest]:
    """The requests of one run, the same for all policies and numbers of gateways; raises WorkloadError."""
    chance = Random(f"workload {seed}")
    if settings.workload:
        drawn = WORKLOADS[settings.workload](settings.skip + (settings.requests or DRAWN_REQUESTS), chance)
    else:
        drawn = read_trace(Path(settings.trace), chance)
    chosen = part(drawn, settings.skip, settings.requests)
    if settings.clients:
        return chosen
    return with_burst(at_load(chosen, settings.fleet.capacity, case.load), case.burst)


def _report(settings: SimulateSettings, case: Case, runs: Sequence[Run]) -> CaseReport:
    fleet = settings.fleet
    slo = Slo(timing=fleet.timing, max_num_batched_tokens=fleet.max_num_batched_tokens, scale=settings.slo_scale)
    return CaseReport(
        case=case,
        workload=settings.workload_name,
        store=settings.store_name,
        prefill=fleet.prefill,
        decode=fleet.decode,
        mixed=fleet.mixed,
        clients=settings.clients,
        requests=len(runs[0].outcomes),
        figures=figures(
            runs, slo, prefilling=fleet.prefill + fleet.mixed, gateways=case.gateways, warm_up=settings.warm_up
        ),
    )
