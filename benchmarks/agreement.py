"""Does the simulation tell the truth? The same workload on real processes and in virtual time.

    python -m benchmarks.agreement --mixed 8
    python -m benchmarks.agreement --prefill 4 --decode 4 --workload multi_turn

Starts, for each seed anew, a redis-server, `forebay rank` processes, an agent for each of their roles and gateways,
sends them a workload through HTTP, and simulates the same with the same timing, periods and gateways, SIMULATED times
with chances of their own. Prints the mean TTFT of both and their ratio, the hit rates, and what share of a core the
processes took: where that nears one, the machine was measured and no placement. The ranks are slow by default, so that
two cores are enough.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from statistics import fmean, stdev
from typing import Annotated

import anyio
import click
import msgspec
from msgspec import Meta

from benchmarks.agreement_fleet import RealFleet, real_fleet
from benchmarks.agreement_sender import MOST_LATE_S, Sender
from benchmarks.agreement_workload import requests_at_load
from forebay.options import settings_options
from forebay.simulate.cases import Case
from forebay.simulate.fleet_options import FleetOptions
from forebay.simulate.settings import seeds_of
from scheduler.settings import SchedulerSettings
from simulator.cluster.fleet import run
from simulator.cluster.outcome import Outcome
from simulator.cluster.request import SimRequest
from simulator.cluster.spread import standard_error
from simulator.cluster.workloads import WORKLOADS
from simulator.cluster.workloads.trace import read_trace

SIMULATED = 16
WITHIN = 0.15
"""What the ratio of the mean TTFT may be from 1."""
SLOW = FleetOptions(
    prefill=0,
    decode=0,
    mixed=8,
    gateways=2,
    prefill_tokens_per_s=5000.0,
    attention_ms_per_million_pairs=6.0,
    decode_step_ms=20.0,
    decode_ms_per_seq=1.0,
    kv_capacity_tokens=262_144,
    prefill_kv_capacity_tokens=262_144,
)
"""A minute's 300 requests keep eight of these busy."""


class Fleet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of the fleet may be chosen; the rest is SLOW."""

    mixed: Annotated[int, Meta(ge=0, le=64, description="ranks that prefill and decode")] = 0
    prefill: Annotated[int, Meta(ge=0, le=64, description="prefill ranks")] = 0
    decode: Annotated[int, Meta(ge=0, le=64, description="decode ranks")] = 0
    gateways: Annotated[int, Meta(ge=1, le=16, description="gateways")] = SLOW.gateways
    prefill_tokens_per_s: Annotated[float, Meta(gt=0, description="of a rank")] = SLOW.prefill_tokens_per_s

    @property
    def options(self) -> FleetOptions:
        """As `forebay simulate` has them; 8 mixed ranks where none were named."""
        named = msgspec.structs.asdict(self)
        if not (self.mixed or self.prefill or self.decode):
            named["mixed"] = SLOW.mixed
        return msgspec.structs.replace(SLOW, **named)


class AgreementSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is compared."""

    trace: Annotated[str, Meta(description="file of a Mooncake or Azure trace, in place of a workload")] = ""
    workload: Annotated[str, Meta(description=f"what is drawn: {', '.join(WORKLOADS)}")] = "shared_prefix"
    requests: Annotated[int, Meta(ge=2, le=10_000, description="of each run, from the beginning")] = 300
    most_output_tokens: Annotated[int, Meta(ge=1, le=10_000, description="longer answers are cut")] = 50
    load: Annotated[float, Meta(gt=0, le=2, description="as `forebay simulate` has it")] = 0.7
    seeds: Annotated[str, Meta(description="such as 1-3; a run for each")] = "1-3"
    policy: Annotated[str, Meta(description="how gateways choose ranks")] = SchedulerSettings().policy
    fleet: Fleet = Fleet()


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One seed's run on a real fleet; `cores` is the share of one by kind of process."""

    seed: int
    requests: Sequence[SimRequest]
    outcomes: Sequence[Outcome]
    most_late_s: float
    cores: dict[str, float]
    mishaps: dict[str, float]


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One seed's means, the simulation's over all its runs; the rest as measured."""

    seed: int
    seconds: float
    real_ttft_s: float
    simulated_ttft_s: float
    simulated_sd_s: float
    real_hit_rate: float
    simulated_hit_rate: float
    most_late_s: float
    cores: dict[str, float]
    mishaps: dict[str, float]

    @property
    def ratio(self) -> float:
        """Of the mean TTFT, real over simulated."""
        return self.real_ttft_s / self.simulated_ttft_s

    def __str__(self) -> str:
        """One line."""
        cores = ", ".join(f"{kind} {share:.2f}" for kind, share in self.cores.items())
        mishaps = "".join(f"; {count:.0f} x {name}" for name, count in self.mishaps.items())
        late = f"; sent up to {1000 * self.most_late_s:.0f} ms late" if self.most_late_s > MOST_LATE_S else ""
        return (
            f"  seed {self.seed}: {self.seconds:.0f} s; TTFT mean real {self.real_ttft_s:.3f} s, simulated "
            f"{self.simulated_ttft_s:.3f} ± {self.simulated_sd_s:.3f} s (sd): {self.ratio:.3f}; hits "
            f"{self.real_hit_rate:.3f} and {self.simulated_hit_rate:.3f}; cores: {cores}{late}{mishaps}"
        )


def requests_of(settings: AgreementSettings, seed: int) -> list[SimRequest]:
    """The workload of a seed; raises WorkloadError."""
    chance = Random(f"workload {seed}")
    if settings.trace:
        drawn = read_trace(Path(settings.trace), chance)
    else:
        drawn = WORKLOADS[settings.workload](settings.requests, chance)
    capacity = settings.fleet.options.capacity
    return requests_at_load(drawn, settings.requests, settings.most_output_tokens, capacity, settings.load)


def measured(settings: AgreementSettings, seed: int, folder: Path) -> Measured:
    """One run on a real fleet."""
    requests = requests_of(settings, seed)
    with real_fleet(settings.fleet.options, settings.policy, folder) as fleet:
        sender, cores = sent(fleet, requests, seed)
        return Measured(
            seed=seed,
            requests=requests,
            outcomes=sender.outcomes,
            most_late_s=sender.most_late_s,
            cores=cores,
            mishaps=fleet.mishaps(),
        )


def compared(settings: AgreementSettings, real: Measured) -> Compared:
    """A real run beside SIMULATED ones."""
    case, options, first = case_of(settings), settings.fleet.options, real.seed * SIMULATED
    simulated = [run(real.requests, options.settings_of(case, first + number)) for number in range(SIMULATED)]
    means_s = [mean_ttft_s(outcomes) for outcomes in simulated]
    return Compared(
        seed=real.seed,
        seconds=max(outcome.finished_s for outcome in real.outcomes),
        real_ttft_s=mean_ttft_s(real.outcomes),
        simulated_ttft_s=fmean(means_s),
        simulated_sd_s=stdev(means_s),
        real_hit_rate=hit_rate(real.outcomes),
        simulated_hit_rate=fmean(map(hit_rate, simulated)),
        most_late_s=real.most_late_s,
        cores=real.cores,
        mishaps=real.mishaps,
    )


def case_of(settings: AgreementSettings) -> Case:
    """What is simulated."""
    return Case(policy=settings.policy, gateways=settings.fleet.gateways, load=settings.load)


def sent(fleet: RealFleet, requests: Sequence[SimRequest], seed: int) -> tuple[Sender, dict[str, float]]:
    """Sends all of it; returns the sender when it is done, and the share of a core that each kind of process took."""
    sender, before = Sender(fleet, requests, seed), fleet.cpu_times()
    anyio.run(sender.run)
    seconds = max(outcome.finished_s for outcome in sender.outcomes)
    return sender, {kind: spent_s / seconds for kind, spent_s in fleet.cpu_s(before).items()}


def mean_ttft_s(outcomes: Sequence[Outcome]) -> float:
    """Over all requests, the first included: both began with empty caches."""
    return fmean(outcome.ttft_s for outcome in outcomes)


def hit_rate(outcomes: Sequence[Outcome]) -> float:
    """The share of all prompt tokens that a cache had."""
    cached = sum(outcome.cached_tokens for outcome in outcomes)
    return cached / sum(outcome.request.prompt_tokens for outcome in outcomes)


@click.command()
@settings_options(AgreementSettings, prefix="BENCH_")
def main(settings: AgreementSettings) -> None:
    """Compare real ranks, gateways and Redis with the simulation of them."""
    real, ratios = [], []
    # All real runs come first: the machine may be quiet for no longer.
    for seed in seeds_of(settings.seeds):
        with tempfile.TemporaryDirectory() as folder:
            real.append(measured(settings, seed, Path(folder)))
    for each in real:
        found = compared(settings, each)
        click.echo(str(found))
        ratios.append(found.ratio)
    mean, error = fmean(ratios), standard_error(ratios)
    verdict = "within" if abs(mean - 1) <= WITHIN else "not within"
    click.echo(f"TTFT mean, real over simulated: {mean:.3f} ± {error:.3f}, {verdict} {WITHIN:.0%}")


if __name__ == "__main__":
    main()
