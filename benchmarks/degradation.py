"""What placement loses as its knowledge ages: `python -m benchmarks.degradation [--trace FILE]`.

On the simulated fleet, by default 8 prefill and 8 decode ranks, at loads 0.7 and 0.9: goodput and mean TTFT against the
age of what agents report, against how long all or half of them say nothing, against the time between two snapshots, and
against how long Redis answers nobody or comes back empty. What lasts for a while begins in the middle of a run, and is
judged by the requests that come while it lasts, and 10 s at least; the rest by all but the first tenth. Behind goodput
stands its ratio to that of the same requests where all is well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from random import Random
from statistics import fmean
from typing import NamedTuple

import click
import msgspec

from forebay.simulate.workers import workers
from simulator.cluster.fleet import run
from simulator.cluster.load import at_load, fleet_capacity
from simulator.cluster.request import SimRequest
from simulator.cluster.settings import FleetSettings
from simulator.cluster.slo import Slo
from simulator.cluster.workloads.shared_prefix import shared_prefix
from simulator.cluster.workloads.trace import read_trace

LOADS = (0.7, 0.9)
AGES_S = (0.5, 2, 5, 10, 30)
SNAPSHOTS_S = (0.05, 0.5, 2, 5, 9, 30)
OUTAGES_S = (2, 10, 30)
HALF_SILENT_S = (30,)
LEAST_WINDOW_S = 10.0
WARM_UP = 0.1


class Trouble(NamedTuple):
    """What goes wrong, and how much of it; `for_s` is 0 for what goes wrong all the time."""

    name: str
    seconds: float
    for_s: float
    change: Callable[[FleetSettings, float], FleetSettings]
    """The fleet with it, if it begins then."""


class Judged(NamedTuple):
    """Some requests' goodput and mean TTFT."""

    goodput: float
    ttft_s: float


class Plan(NamedTuple):
    """The requests of a run, and the fleet where all is well."""

    trace: str
    requests: int
    fleet: FleetSettings

    def requests_of(self, load: float, seed: int) -> list[SimRequest]:
        """At that load."""
        fleet, chance = self.fleet, Random(seed)
        drawn = read_trace(Path(self.trace), chance) if self.trace else shared_prefix(self.requests, chance)
        capacity = fleet_capacity(
            fleet.timing,
            prefilling=fleet.prefill,
            decoding=fleet.decode,
            max_num_seqs=fleet.max_num_seqs,
            cache_tokens=fleet.prefill * fleet.prefill_kv_capacity_tokens,
        )
        return at_load(drawn[: self.requests], capacity, load)


def _late(fleet: FleetSettings, _from_s: float, seconds: float) -> FleetSettings:
    return msgspec.structs.replace(fleet, report_late_ms=round(1000 * seconds))


def _rarely_read(fleet: FleetSettings, _from_s: float, seconds: float) -> FleetSettings:
    return msgspec.structs.replace(fleet, snapshot_ms=round(1000 * seconds))


def _silent(fleet: FleetSettings, from_s: float, seconds: float, *, share: float = 1.0) -> FleetSettings:
    return msgspec.structs.replace(fleet, silent_from_s=from_s, silent_s=seconds, silent_share=share)


def _gone(fleet: FleetSettings, from_s: float, seconds: float, *, empties: bool = False) -> FleetSettings:
    return msgspec.structs.replace(fleet, outage_from_s=from_s, outage_s=seconds, outage_empties=empties)


def troubles(only: str = "") -> list[Trouble]:
    """All that is measured, or those of it with `only` in their names."""
    always: list[tuple[str, Sequence[float], Callable[..., FleetSettings]]] = [
        ("reports late by", AGES_S, _late),
        ("snapshots every", SNAPSHOTS_S, _rarely_read),
    ]
    passing: list[tuple[str, Sequence[float], Callable[..., FleetSettings]]] = [
        ("agents silent for", AGES_S, _silent),
        ("half silent for", HALF_SILENT_S, partial(_silent, share=0.5)),
        ("Redis gone for", OUTAGES_S, _gone),
        ("gone, back empty", OUTAGES_S, partial(_gone, empties=True)),
    ]
    found = [Trouble(name, s, 0.0, partial(change, seconds=s)) for name, some, change in always for s in some]
    found += [Trouble(name, s, s, partial(change, seconds=s)) for name, some, change in passing for s in some]
    return [trouble for trouble in found if only in trouble.name]


def judged(plan: Plan, load: float, trouble: Trouble | None, seed: int, windows_s: Sequence[float]) -> list[Judged]:
    """Of a run, the requests of each window; a window of 0 is all of it but the warm-up."""
    requests = plan.requests_of(load, seed)
    end_s = requests[-1].arrival_s
    from_s = end_s / 2
    fleet = msgspec.structs.replace(plan.fleet, seed=seed)
    outcomes = run(requests, trouble.change(fleet, from_s) if trouble else fleet)
    slo = Slo(timing=fleet.timing, max_num_batched_tokens=fleet.max_num_batched_tokens)
    found = []
    for window_s in windows_s:
        begin_s, until_s = (from_s, from_s + max(window_s, LEAST_WINDOW_S)) if window_s else (WARM_UP * end_s, end_s)
        some = [each for each in outcomes if begin_s <= each.request.arrival_s <= until_s]
        found.append(Judged(fmean(map(slo.is_met, some)), fmean(each.ttft_s for each in some)))
    return found


def _mean(runs: Sequence[Judged]) -> Judged:
    return Judged(fmean(each.goodput for each in runs), fmean(each.ttft_s for each in runs))


def _said(name: str, seconds: float, found: Judged, well: Judged) -> str:
    ratio = found.goodput / well.goodput if well.goodput else 0.0
    return (
        f"  {name:<18} {seconds:>5g} s   goodput {found.goodput:.3f} ({ratio:.2f} x)"
        f"   TTFT {found.ttft_s:6.2f} s ({well.ttft_s:.2f} s where all is well)"
    )


@click.command()
@click.option("--trace", default="", help="Instead of prompts with shared beginnings.")
@click.option("--requests", type=click.IntRange(100, 1_000_000), default=2000, show_default=True)
@click.option("--seeds", type=click.IntRange(1, 64), default=4, show_default=True, help="How many runs of each.")
@click.option("--gateways", type=click.IntRange(1, 1000), default=16, show_default=True)
@click.option("--ranks", type=click.IntRange(1, 1000), default=8, show_default=True, help="Of each role; 8 are a node.")
@click.option("--only", default="", help="What has this in its name, as 'Redis gone'.")
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True)
def main(trace: str, requests: int, seeds: int, gateways: int, ranks: int, only: str, processes: int) -> None:
    """Print what placement loses as its knowledge ages."""
    fleet = FleetSettings(prefill=ranks, decode=ranks, gateways=gateways, prefill_kv_capacity_tokens=2_000_000)
    plan, numbers, measured = Plan(trace, requests, fleet), range(1, seeds + 1), troubles(only)
    windows = sorted({trouble.for_s for trouble in measured})
    with workers(processes) as executor:
        each = executor.map if executor else map
        for load in LOADS:
            click.echo(f"load {load}, {gateways} gateways")
            runs = list(each(partial(judged, plan, load, None, windows_s=windows), numbers))
            well = {window: _mean([found[place] for found in runs]) for place, window in enumerate(windows)}
            pairs = list(product(measured, numbers))
            work = each(_judged_pair, [(plan, load, trouble, seed) for trouble, seed in pairs])
            found: list[Judged] = []
            for (trouble, seed), one in zip(pairs, work, strict=True):
                found.append(one)
                if seed == numbers[-1]:
                    click.echo(_said(trouble.name, trouble.seconds, _mean(found), well[trouble.for_s]))
                    found = []


def _judged_pair(work: tuple[Plan, float, Trouble, int]) -> Judged:
    plan, load, trouble, seed = work
    return judged(plan, load, trouble, seed, [trouble.for_s])[0]


if __name__ == "__main__":
    main()
