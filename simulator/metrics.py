"""The `/metrics` page: the families vLLM 0.32 shows, by the library it shows them with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from simulator.cache_config import cache_config_labels
from simulator.engine_stats import EngineStats
from simulator.histogram import Histogram
from simulator.metric_families import (
    ALWAYS_ZERO,
    COUNTERS,
    GAUGES,
    HISTOGRAMS,
    REJECTIONS,
    SLEEP_STATE,
    Family,
    HistogramFamily,
)
from simulator.metric_families_nixl import KV_FETCH_STAGES, NIXL_COUNTERS, NIXL_HISTOGRAMS
from simulator.runner import EngineRunner
from simulator.settings import RankSettings

CONTENT_TYPE: Final = "text/plain; version=1.0.0; charset=utf-8"

_SLEEP_STATES: Final = {"awake": None, "weights_offloaded": 1, "discard_all": 2}
"""By the level of sleep; 0 is none to speak of."""


class Measured(Protocol):
    """What the page tells of a rank."""

    settings: RankSettings
    started_at_s: float
    rejected: int
    sleep_level: int | None

    @property
    def runners(self) -> Sequence[EngineRunner]:
        """Its engines, in the order of their labels."""


def registry_of(rank: Measured) -> CollectorRegistry:
    """The process's own families and the rank's."""
    registry = CollectorRegistry()
    GCCollector(registry)
    PlatformCollector(registry)
    ProcessCollector(registry=registry)
    registry.register(_RankCollector(rank))
    return registry


def page(registry: CollectorRegistry) -> bytes:
    """The page in Prometheus' text format."""
    return generate_latest(registry)


class _RankCollector(Collector):
    """Reads the engines' stats when the page is asked for."""

    def __init__(self, rank: Measured) -> None:
        self._rank = rank
        self._model = rank.settings.model

    def describe(self) -> list[Metric]:
        """Nothing ahead of time: names cannot clash in a registry of its own."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All families, in vLLM's groups: the connector's, gauges, counters, histograms, the cache's configuration."""
        engines = [
            (str(self._rank.settings.first_label + index), runner.stats)
            for index, runner in enumerate(self._rank.runners)
        ]
        settings = self._rank.settings
        if settings.connector.startswith("nixl"):
            yield from self._histograms(engines, NIXL_HISTOGRAMS)
            yield from self._counters(engines, NIXL_COUNTERS)
        pulls_kv = settings.connector and settings.role != "prefill"
        yield from self._gauges(engines, (*GAUGES, KV_FETCH_STAGES) if pulls_kv else GAUGES)
        yield from self._counters(engines, (*COUNTERS, *ALWAYS_ZERO))
        yield self._rejections()
        yield from self._histograms(engines, HISTOGRAMS)
        yield self._cache_config(engines)

    def _gauges(self, engines: list[tuple[str, EngineStats]], families: Iterable[Family]) -> Iterator[Metric]:
        for name, text, label, read in families:
            family = GaugeMetricFamily(name, text, labels=_labels(label))
            for engine, stats in engines:
                for value, number in read(stats).items():
                    family.add_metric(self._values(engine, label, value), number)
            yield family
        family = GaugeMetricFamily(*SLEEP_STATE, labels=_labels("sleep_state"))
        for engine, _ in engines:
            for state, level in _SLEEP_STATES.items():
                family.add_metric(self._values(engine, "sleep_state", state), (self._rank.sleep_level or None) == level)
        yield family

    def _counters(self, engines: list[tuple[str, EngineStats]], families: Iterable[Family]) -> Iterator[Metric]:
        for name, text, label, read in families:
            family = CounterMetricFamily(name, text, labels=_labels(label))
            for engine, stats in engines:
                for value, number in read(stats).items():
                    family.add_metric(self._values(engine, label, value), number, created=self._rank.started_at_s)
            yield family

    def _rejections(self) -> Metric:
        family = CounterMetricFamily(*REJECTIONS, labels=["model_name", "reason"])
        rejected = {"max_num_queued_reqs": self._rank.rejected, "max_num_queued_tokens": 0}
        for reason, number in rejected.items():
            family.add_metric([self._model, reason], number, created=self._rank.started_at_s)
        return family

    def _histograms(
        self, engines: list[tuple[str, EngineStats]], families: Iterable[HistogramFamily]
    ) -> Iterator[Metric]:
        for name, text, read in families:
            family = HistogramMetricFamily(name, text, labels=_labels(None))
            for engine, stats in engines:
                histogram = read(stats)
                labels = self._values(engine, None, "")
                family.add_metric(labels, _buckets(histogram), histogram.sum)
                pairs = dict(zip(_labels(None), labels, strict=True))
                family.add_sample(f"{name}_created", pairs, self._rank.started_at_s)
            yield family

    def _cache_config(self, engines: list[tuple[str, EngineStats]]) -> Metric:
        family = GaugeMetricFamily("vllm:cache_config_info", "Information of the LLMEngine CacheConfig")
        for engine, _ in engines:
            family.add_sample(family.name, {**cache_config_labels(self._rank.settings), "engine": engine}, 1)
        return family

    def _values(self, engine: str, label: str | None, value: str) -> list[str]:
        return [engine, self._model, value] if label else [engine, self._model]


def _labels(label: str | None) -> list[str]:
    return ["engine", "model_name", label] if label else ["engine", "model_name"]


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Cumulated counts by upper bound."""
    buckets, total = [], 0
    for bound, seen in zip((*map(floatToGoString, histogram.bounds), "+Inf"), histogram.counts, strict=True):
        total += seen
        buckets.append((bound, float(total)))
    return buckets
