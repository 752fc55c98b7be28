"""Metric families as values, and what those of several workers are together. Pure.

Counters and histograms add up, and so do most gauges: what each worker holds or has open. Where a sum would say
nothing, the least or the greatest is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec
from prometheus_client.metrics_core import Metric

LEAST = {"forebay_gateway_ready", "process_start_time_seconds"}
GREATEST = {"forebay_gateway_degraded", "forebay_gateway_snapshot_age_seconds", "forebay_gateway_key_sharers"}
CREATED = "_created"
"""Ends the samples that say since when a counter counts."""

Labels = tuple[tuple[str, str], ...]


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One line of a page."""

    name: str
    labels: Labels
    value: float


class Family(msgspec.Struct, frozen=True, array_like=True):
    """The lines under one `# TYPE`; `kind` is Prometheus's word for it."""

    name: str
    help: str
    kind: str
    samples: tuple[Sample, ...]

    @property
    def is_lasting(self) -> bool:
        """Whether it tells what has been, and not what is now."""
        return self.kind != "gauge"


def families_of(metrics: Iterable[Metric]) -> tuple[Family, ...]:
    """What a registry collects, as values."""
    return tuple(
        Family(
            metric.name,
            metric.documentation,
            metric.type,
            tuple(Sample(s.name, tuple(sorted(s.labels.items())), float(s.value)) for s in metric.samples),
        )
        for metric in metrics
    )


def metrics_of(families: Iterable[Family]) -> Iterator[Metric]:
    """The same as a registry takes it."""
    for family in families:
        metric = Metric(family.name, family.help, family.kind)
        for sample in family.samples:
            metric.add_sample(sample.name, dict(sample.labels), sample.value)
        yield metric


def lasting(families: Iterable[Family]) -> tuple[Family, ...]:
    """What is still true of a worker that has ended."""
    return tuple(family for family in families if family.is_lasting)


def total_of(workers: Iterable[Sequence[Family]]) -> tuple[Family, ...]:
    """One page's families out of those of several workers."""
    found: dict[str, Family] = {}
    values: dict[str, dict[tuple[str, Labels], float]] = {}
    for families in workers:
        for family in families:
            found.setdefault(family.name, family)
            sums = values.setdefault(family.name, {})
            for sample in family.samples:
                key = (sample.name, sample.labels)
                sums[key] = _together(family.name, sample, sums[key]) if key in sums else sample.value
    return tuple(
        msgspec.structs.replace(
            family, samples=tuple(Sample(name, labels, value) for (name, labels), value in values[family.name].items())
        )
        for family in found.values()
    )


def _together(family: str, sample: Sample, others: float) -> float:
    if family in LEAST or sample.name.endswith(CREATED):
        return min(sample.value, others)
    return max(sample.value, others) if family in GREATEST else sample.value + others


def without_unknown_ranks(ended: Iterable[Family], living: Iterable[Family]) -> tuple[Family, ...]:
    """What ended workers counted, without ranks that no living one knows: ranks come and go, for ever.

    A living worker shows every rank of its pools. While none shows any, as at a start, nothing is left out.
    """
    known = {family.name: {rank for sample in family.samples if (rank := _rank_of(sample))} for family in living}
    return tuple(
        msgspec.structs.replace(family, samples=tuple(s for s in family.samples if _rank_of(s) in {"", *ranks}))
        if (ranks := known.get(family.name))
        else family
        for family in ended
    )


def _rank_of(sample: Sample) -> str:
    return dict(sample.labels).get("rank", "")
