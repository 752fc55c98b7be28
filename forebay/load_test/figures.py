"""What a load test's requests amount to. Pure.

TTFT: from sending a request to its first text. TPOT: from there to the last text, per token after the first. ITL:
between two events with text. E2E: from sending to the end of the answer. All as `vllm bench serve` has them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from forebay.load_test.sample import Sample
from forebay.load_test.settings import LoadTestSettings

PERCENTS = (10, 25, 50, 75, 90, 95, 99)


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """How values are spread, in milliseconds; `percentiles` are those of PERCENTS."""

    count: int
    mean: float
    p50: float
    p90: float
    p99: float
    most: float
    percentiles: tuple[float, ...]


class Goodput(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that kept all bounds: a second, and as a share of all that were sent."""

    per_s: float
    share: float


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Of the measured requests; times are those of the ones that succeeded. `errors`: how many failed, by kind."""

    sent: int
    succeeded: int
    errors: dict[str, int]
    took_s: float
    requests_per_s: float
    prompt_tokens: int
    output_tokens: int
    output_tokens_per_s: float
    ttft: Spread | None
    tpot: Spread | None
    itl: Spread | None
    e2e: Spread | None
    goodput: Goodput | None


def figures(samples: Sequence[Sample], took_s: float, settings: LoadTestSettings) -> Figures:
    """`took_s`: from the start to the last answer's end."""
    good = [sample for sample in samples if not sample.error]
    output_tokens = sum(sample.output_tokens for sample in good)
    return Figures(
        sent=len(samples),
        succeeded=len(good),
        errors=dict(Counter(sample.error for sample in samples if sample.error).most_common()),
        took_s=took_s,
        requests_per_s=len(good) / took_s,
        prompt_tokens=sum(sample.prompt_tokens for sample in good),
        output_tokens=output_tokens,
        output_tokens_per_s=output_tokens / took_s,
        ttft=spread(sample.ttft_s for sample in good),
        tpot=spread(sample.tpot_s for sample in good if sample.tpot_s is not None),
        itl=spread(gap_s for sample in good for gap_s in sample.gaps_s),
        e2e=spread(sample.e2e_s for sample in good),
        goodput=_goodput(samples, took_s, settings),
    )


def spread(values_s: Iterable[float]) -> Spread | None:
    """Of times in seconds; None if there are none."""
    ordered = sorted(values_s)
    if not ordered:
        return None
    return Spread(
        count=len(ordered),
        mean=1e3 * sum(ordered) / len(ordered),
        p50=_percentile_ms(ordered, 50),
        p90=_percentile_ms(ordered, 90),
        p99=_percentile_ms(ordered, 99),
        most=1e3 * ordered[-1],
        percentiles=tuple(_percentile_ms(ordered, percent) for percent in PERCENTS),
    )


def _percentile_ms(ordered: Sequence[float], percent: int) -> float:
    """Between the two values nearest to it, linearly."""
    place = percent / 100 * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return 1e3 * (ordered[below] + (ordered[above] - ordered[below]) * (place - below))


def _goodput(samples: Sequence[Sample], took_s: float, settings: LoadTestSettings) -> Goodput | None:
    if not (settings.slo_ttft_ms or settings.slo_tpot_ms or settings.slo_e2e_ms):
        return None
    kept = sum(_keeps(sample, settings) for sample in samples)
    return Goodput(per_s=kept / took_s, share=kept / len(samples) if samples else 0.0)


def _keeps(sample: Sample, settings: LoadTestSettings) -> bool:
    if sample.error:
        return False
    bounds = (
        (sample.ttft_s, settings.slo_ttft_ms),
        (sample.tpot_s or 0.0, settings.slo_tpot_ms),
        (sample.e2e_s, settings.slo_e2e_ms),
    )
    return all(not bound_ms or 1e3 * value_s <= bound_ms for value_s, bound_ms in bounds)
