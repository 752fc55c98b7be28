"""What a replay came to: numbers, and whether it went well. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

import msgspec
from rich.table import Table

from benchmarks.stream import Answer

MS = 1000
RESERVATIONS_GONE_WITHIN_S = 2.0


class Percentiles(msgspec.Struct, frozen=True):
    """In milliseconds."""

    p50: float
    p99: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay came to. `lag_ms` is how late the client itself sent; a large one spoils the other times.

    `in_two_legs` are the requests that were prefilled on one rank and decoded on another. `misuses` of their KV are
    what strict ranks counted, None where the ranks are faithful and count nothing.
    """

    requests: int
    seconds: float
    requests_per_s: float
    prompt_tokens: int
    completion_tokens: int
    ttft_ms: Percentiles
    inter_token_ms: Percentiles
    chunk_gap_ms: Percentiles
    lag_ms: Percentiles
    in_two_legs: int
    per_rank: dict[str, int]
    per_gateway: dict[str, int]
    errors: dict[str, int]
    reservations_gone_s: float | None
    misuses: int | None

    @property
    def faults(self) -> list[str]:
        """Why the replay failed; empty if it went well."""
        found = [f"{count} x {kind}" for kind, count in self.errors.items()]
        unused = [name for name, count in (self.per_rank | self.per_gateway).items() if count == 0]
        found += [f"nothing was placed on {name}" for name in unused]
        if self.reservations_gone_s is None:
            found.append(f"reservations were left after {RESERVATIONS_GONE_WITHIN_S:g} s")
        if self.misuses:
            found.append(f"KV was misused {self.misuses} times")
        return found


def make_report(
    answers: Sequence[Answer],
    *,
    lags_s: Sequence[float],
    seconds: float,
    ranks: Iterable[str],
    gateways: Collection[str],
    reservations_gone_s: float | None,
    misuses: int | None,
) -> Report:
    """Sum up; `ranks` and `gateways` are those that could have been used."""
    good = [answer for answer in answers if not answer.error]
    per_rank = Counter(rank for answer in answers for rank in answer.ranks)
    per_gateway = Counter(answer.gateway for answer in answers if answer.gateway)
    errors = Counter(answer.error for answer in answers if answer.error)
    return Report(
        requests=len(answers),
        seconds=seconds,
        requests_per_s=len(answers) / seconds,
        prompt_tokens=sum(answer.prompt_tokens for answer in good),
        completion_tokens=sum(answer.completion_tokens for answer in good),
        ttft_ms=percentiles_ms(answer.ttft_s for answer in good),
        inter_token_ms=percentiles_ms(mean for answer in good if (mean := answer.inter_token_s) is not None),
        chunk_gap_ms=percentiles_ms(gap for answer in good for gap in answer.gaps_s),
        lag_ms=percentiles_ms(lags_s),
        in_two_legs=sum(len(answer.ranks) == 2 for answer in good),
        per_rank={name: per_rank[name] for name in sorted({*ranks, *per_rank})},
        per_gateway={name: per_gateway[name] for name in sorted({*gateways, *per_gateway})},
        errors=dict(errors.most_common()),
        reservations_gone_s=reservations_gone_s,
        misuses=misuses,
    )


def percentiles_ms(values_s: Iterable[float]) -> Percentiles:
    """Nearest-rank percentiles; zeros where there are no values."""
    ordered = sorted(values_s) or [0.0]
    p50, p99 = (ordered[round(share * (len(ordered) - 1))] * MS for share in (0.5, 0.99))
    return Percentiles(round(p50, 2), round(p99, 2))


def report_table(report: Report) -> Table:
    """The report for a terminal."""
    table = Table(box=None, show_header=False)
    rows = [
        ("requests", f"{report.requests} in {report.seconds:.1f} s: {report.requests_per_s:.2f} req/s"),
        ("tokens", f"{report.prompt_tokens:,} prompt, {report.completion_tokens:,} completion"),
        ("time to first token", _text(report.ttft_ms)),
        ("inter-token latency", f"{_text(report.inter_token_ms)} (mean of each request)"),
        ("gap between chunks", _text(report.chunk_gap_ms)),
        ("client sent late by", _text(report.lag_ms)),
        ("in two legs", str(report.in_two_legs)),
        *(("placed on rank", f"{name}: {count}") for name, count in report.per_rank.items()),
        *(("placed by gateway", f"{name}: {count}") for name, count in report.per_gateway.items()),
        ("errors", ", ".join(f"{count} x {kind}" for kind, count in report.errors.items()) or "0"),
        ("reservations", _reservations(report.reservations_gone_s)),
        ("misuses of KV", "not counted" if report.misuses is None else str(report.misuses)),
    ]
    for row in rows:
        table.add_row(*row)
    return table


def _text(values: Percentiles) -> str:
    return f"p50 {values.p50:.2f} ms, p99 {values.p99:.2f} ms"


def _reservations(gone_s: float | None) -> str:
    return "LEFT OVER" if gone_s is None else f"0 left, {gone_s:.3f} s after the last answer"
