"""What runs of the cluster simulation came to, as docs/placement/ keeps it: one line of JSON for each case."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, stdev

import msgspec


class Times(msgspec.Struct, frozen=True):
    """In milliseconds; of what `forebay simulate` prints only what the tables show."""

    mean: float
    p99: float
    se: float


class Seed(msgspec.Struct, frozen=True):
    """One run."""

    seed: int
    ttft_ms: float
    goodput: float
    throughput_rps: float


class Result(msgspec.Struct, frozen=True):
    """One case, a rule on a fleet at a load, over all seeds."""

    policy: str
    gateways: int
    load: float
    workload: str
    requests: int
    ttft_ms: Times
    tpot_ms: Times
    goodput: float
    hit_rate: float
    throughput_rps: float
    rejected: int
    seeds: tuple[Seed, ...]


class Difference(msgspec.Struct, frozen=True):
    """How much more one case came to than another, over the same seeds, with its standard error."""

    mean: float
    se: float

    @property
    def is_below(self) -> bool:
        """Less, beyond two standard errors."""
        return self.mean < -2 * self.se

    @property
    def is_above(self) -> bool:
        """More, beyond two standard errors."""
        return self.mean > 2 * self.se


def difference(values: Sequence[float], others: Sequence[float]) -> Difference:
    """Of values and others pairwise, at least two pairs: runs of the same seed have the same requests."""
    differences = [value - other for value, other in zip(values, others, strict=True)]
    return Difference(fmean(differences), stdev(differences) / len(differences) ** 0.5)


def ttft_ratio(result: Result, base: Result) -> Difference:
    """The mean TTFT over that of `base`, seed by seed."""
    ratios = [one.ttft_ms / other.ttft_ms for one, other in zip(result.seeds, base.seeds, strict=True)]
    return Difference(fmean(ratios), stdev(ratios) / len(ratios) ** 0.5)


def read_results(path: Path) -> list[Result]:
    """All of a file; raises msgspec.DecodeError where it is not such a file."""
    return msgspec.json.Decoder(Result).decode_lines(path.read_bytes())


def results_of(lines: bytes) -> list[Result]:
    """What `forebay simulate --json` printed, cut down to what is kept."""
    return msgspec.json.Decoder(Result).decode_lines(lines)


def write_results(path: Path, results: Iterable[Result]) -> None:
    """At once: there is no file that is half written."""
    unfinished = path.with_suffix(".part")
    unfinished.write_bytes(b"".join(msgspec.json.encode(result) + b"\n" for result in results))
    unfinished.rename(path)
