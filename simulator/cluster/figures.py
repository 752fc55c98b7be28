"""What runs of one fleet came to, as figures. Pure.

Times, hits and the SLO are of the requests after the warm-up; what is counted is counted from the beginning. With
several runs a figure is the mean of the runs' own, and counts are sums. What needs a request that was served is None
where none was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean

import msgspec

from simulator.cluster.outcome import Outcome
from simulator.cluster.slo import Slo
from simulator.cluster.spread import Spread, spread, standard_error_within

LATE = 0.35
"""The share of the requests, the last, that show what is left of a burst."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run's outcomes, in any order."""

    seed: int
    outcomes: Sequence[Outcome]


class RunFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What one run came to, for comparing runs of the same seed. `ttft_within_se_ms` is by batch means."""

    seed: int
    ttft_ms: float | None
    ttft_within_se_ms: float
    ttft_late_ms: float | None
    goodput: float
    hit_rate: float | None
    throughput_rps: float


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What all runs came to.

    `ttft_ms` and `e2e_ms` are from the arrival, `ttft_late_ms` is that of the LATE requests alone, `tpot_ms` is the
    time per output token after the first. `goodput` is the share of requests that met the SLO, `hit_rate` the share of
    prompt tokens found in a cache, `believed_hit_rate` the share that gateways expected to be found where they placed
    (least_work expects nothing), `imbalance` the work of the busiest prefilling rank (uncached prompt tokens) over the
    ranks' mean. `throughput_rps` is requests finished over the time from the first arrival to the last end. The `_se`
    are standard errors as those in `ttft_ms`.
    """

    ttft_ms: Spread | None
    ttft_late_ms: Spread | None
    tpot_ms: Spread | None
    e2e_ms: Spread | None
    throughput_rps: float
    goodput: float
    goodput_se: float
    hit_rate: float | None
    hit_rate_se: float | None
    believed_hit_rate: float | None
    imbalance: float | None
    rejected: int
    placements_by_gateway: dict[str, int]
    placements_by_rank: dict[str, int]
    seeds: tuple[RunFigures, ...]


def figures(runs: Sequence[Run], slo: Slo, *, prefilling: int, gateways: int, warm_up: float) -> Figures:
    """The figures of at least one run on a fleet with so many ranks that prefill and so many gateways.

    `warm_up` is the share of the requests, by arrival, that come too early to be judged.
    """
    measured = [_measured(run.outcomes, warm_up) for run in runs]
    served = [[outcome for outcome in outcomes if not outcome.rejected] for outcomes in measured]
    goodput = spread([[float(slo.is_met(outcome)) for outcome in outcomes] for outcomes in measured])
    assert goodput  # a run has a request
    hit_rate = spread([_hit_samples(outcomes) for outcomes in served])
    believed_hit_rate = spread([_hit_samples(outcomes, believed=True) for outcomes in served])
    everything = [outcome for run in runs for outcome in run.outcomes if not outcome.rejected]
    return Figures(
        ttft_ms=_spread_ms(served, lambda outcome: outcome.ttft_s),
        ttft_late_ms=_spread_ms([_late(run.outcomes) for run in runs], lambda outcome: outcome.ttft_s),
        tpot_ms=_spread_ms(served, lambda outcome: outcome.tpot_s),
        e2e_ms=_spread_ms(served, lambda outcome: outcome.e2e_s),
        throughput_rps=fmean(map(_throughput_rps, served)),
        goodput=goodput.mean,
        goodput_se=goodput.se,
        hit_rate=hit_rate.mean if hit_rate else None,
        hit_rate_se=hit_rate.se if hit_rate else None,
        believed_hit_rate=believed_hit_rate.mean if believed_hit_rate else None,
        imbalance=_mean([_imbalance(outcomes, prefilling) for outcomes in served if outcomes]),
        rejected=sum(outcome.rejected for run in runs for outcome in run.outcomes),
        placements_by_gateway=_counts((str(outcome.gateway) for outcome in everything), map(str, range(gateways))),
        placements_by_rank=_counts(rank for outcome in everything for rank in _ranks(outcome)),
        seeds=tuple(_run_figures(run, outcomes, slo) for run, outcomes in zip(runs, measured, strict=True)),
    )


def _measured(outcomes: Iterable[Outcome], warm_up: float) -> list[Outcome]:
    ordered = sorted(outcomes, key=lambda outcome: (outcome.request.arrival_s, outcome.request.number))
    return ordered[int(len(ordered) * warm_up) :]


def _late(outcomes: Iterable[Outcome]) -> list[Outcome]:
    return [outcome for outcome in _measured(outcomes, 1 - LATE) if not outcome.rejected]


def _spread_ms(runs: Iterable[Sequence[Outcome]], seconds: Callable[[Outcome], float | None]) -> Spread | None:
    return spread([[1000 * value for each in outcomes if (value := seconds(each)) is not None] for outcomes in runs])


def _hit_samples(outcomes: Sequence[Outcome], *, believed: bool = False) -> list[float]:
    """Samples whose mean is the share of all prompt tokens: each request's share, weighted by its tokens."""
    if not outcomes:
        return []
    mean_tokens = fmean(outcome.request.prompt_tokens for outcome in outcomes)
    found = [outcome.believed_cached_tokens if believed else outcome.cached_tokens for outcome in outcomes]
    return [tokens / mean_tokens for tokens in found]


def _throughput_rps(outcomes: Sequence[Outcome]) -> float:
    if not outcomes:
        return 0.0
    span_s = max(outcome.finished_s for outcome in outcomes) - outcomes[0].request.arrival_s
    return len(outcomes) / span_s if span_s > 0 else 0.0


def _imbalance(outcomes: Iterable[Outcome], prefilling: int) -> float:
    work: Counter[str] = Counter()
    for outcome in outcomes:
        work[outcome.prefill_rank] += outcome.request.prompt_tokens - outcome.cached_tokens
    return max(work.values()) * prefilling / work.total()


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _ranks(outcome: Outcome) -> set[str]:
    return {outcome.prefill_rank, outcome.decode_rank}


def _counts(names: Iterable[str], known: Iterable[str] = ()) -> dict[str, int]:
    """How often each name comes, those known and never seen included; sorted, numbers by value."""
    counted: Mapping[str, int] = Counter(names)
    every = {*known, *counted}
    return {name: counted.get(name, 0) for name in sorted(every, key=lambda name: (len(name), name))}


def _run_figures(run: Run, outcomes: Sequence[Outcome], slo: Slo) -> RunFigures:
    served = [outcome for outcome in outcomes if not outcome.rejected]
    ttft_ms = [1000 * outcome.ttft_s for outcome in served]
    late_ms = [1000 * outcome.ttft_s for outcome in _late(run.outcomes)]
    return RunFigures(
        seed=run.seed,
        ttft_ms=_mean(ttft_ms),
        ttft_within_se_ms=standard_error_within(ttft_ms),
        ttft_late_ms=_mean(late_ms),
        goodput=fmean(slo.is_met(outcome) for outcome in outcomes),
        hit_rate=_mean(_hit_samples(served)),
        throughput_rps=_throughput_rps(served),
    )
