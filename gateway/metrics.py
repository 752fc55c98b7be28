"""What a gateway shows at /metrics. Labels are bounded: routes we serve, pools that exist, ranks that are there."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.pace import Paces
from gateway.placing import Pools
from gateway.usage import Usage
from scheduler.limits import SharedLimits

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120, 300, 900)
PLACE_SECONDS = (0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.5)
RATIOS = (0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 1.05, 1.1, 1.25, 1.5, 2, 4)


class Metrics:
    """The counters of one gateway, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "forebay_gateway_requests",
            "Requests answered; status 499 is a client that left first.",
            ["route", "status", "pool"],
            registry=registry,
        )
        self.refused_connections = Counter(
            "forebay_gateway_refused_connections",
            "Connections closed for bytes that are no HTTP, or a head that is too large or too slow.",
            ["status"],
            registry=registry,
        )
        self.in_flight = Gauge("forebay_gateway_in_flight_requests", "Requests being served.", registry=registry)
        self.ttft = _seconds(
            "ttft", "From a request's head to the first token of its streamed answer.", SECONDS, registry
        )
        self.e2e = _seconds("e2e", "From a request's head to the end of its answer.", SECONDS, registry)
        self.place = _seconds("place", "One placement, the round trip to the store included.", PLACE_SECONDS, registry)
        self.placements: Tally[tuple[str, str]] = Tally()
        self.degraded = Counter(
            "forebay_gateway_placements_degraded",
            "Placements made without the shared ledger.",
            ["pool"],
            registry=registry,
        )
        self.not_placed = Counter(
            "forebay_gateway_not_placed",
            "Requests no rank could take: `wait` (all full) or `reject` (none usable).",
            ["pool", "answer"],
            registry=registry,
        )
        self.rank_errors = Counter(
            "forebay_gateway_rank_errors", "Answers a rank did not complete.", ["pool", "error"], registry=registry
        )
        text = "Responses that ranks keep, by whether the store took word of it."
        self.responses_noted = Counter("forebay_gateway_responses_noted", text, ["pool", "kept"], registry=registry)
        self.pairs = PairMetrics(registry)
        self.paces = Paces()
        registry.register(self.paces)
        self.tokens, self.unreported, self.limited = _of_tenants(registry)
        self.estimate_ratio = Histogram(
            "forebay_gateway_prompt_estimate_ratio",
            "Prompt tokens estimated at placement, as a share of those the engine counted.",
            ["pool"],
            buckets=RATIOS,
            registry=registry,
        )

    def count_tokens(self, pool: str, tenant: str, usage: Usage) -> None:
        """Count what one answer took."""
        self.tokens.labels(pool, tenant, "prompt").inc(usage.prompt_tokens)
        self.tokens.labels(pool, tenant, "completion").inc(usage.completion_tokens)

    def count_unreported(self, pool: str, tenant: str, prompt_tokens: int) -> None:
        """Count the prompt of a request that its client left before its rank has told what it used."""
        self.unreported.labels(pool, tenant).inc(prompt_tokens)

    def page(self) -> bytes:
        """The page a scraper reads."""
        return generate_latest(self.registry)


class PairMetrics:
    """What requests served in two legs add."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.prefill = _seconds("prefill", "From a request to a prefill rank to its whole answer.", SECONDS, registry)
        self.freed = Counter(
            "forebay_gateway_freed_prefills",
            "Prefills that no decode rank was to fetch any more, by whether one took word of it.",
            ["pool", "freed"],
            registry=registry,
        )
        self.calls = Counter(
            "forebay_gateway_metaserver_calls",
            "Calls of decode ranks for a prefill, by what became of them.",
            ["heard"],
            registry=registry,
        )


def _of_tenants(registry: CollectorRegistry) -> tuple[Counter, Counter, Counter]:
    what = "Tokens as engines report them, of the prompts and of the answers."
    left = "Estimated prompt tokens of requests that ranks worked on and clients left before their usage was told."
    refused = "Requests refused by a limit of their key: `requests`, `tokens`, `at_once`, or `beyond` all it allows."
    return (
        Counter("forebay_gateway_tokens", what, ["pool", "tenant", "kind"], registry=registry),
        Counter("forebay_gateway_unreported_prompt_tokens", left, ["pool", "tenant"], registry=registry),
        Counter("forebay_gateway_key_limited", refused, ["tenant", "limit"], registry=registry),
    )


def _seconds(name: str, what: str, buckets: tuple[float, ...], registry: CollectorRegistry) -> Histogram:
    return Histogram(f"forebay_gateway_{name}_seconds", what, ["pool"], buckets=buckets, registry=registry)


class StateCollector(Collector):
    """What is read off the pools and the gateway at the moment of a scrape.

    Placements are counted by rank, and a rank that has left its pool is forgotten: ranks come and go with their
    addresses, and their number must not grow for ever.
    """

    def __init__(
        self,
        pools: Pools,
        placements: Tally[tuple[str, str]],
        held: Callable[[], dict[str, int]],
        limits: SharedLimits,
    ) -> None:
        self._pools = pools
        self._limits = limits
        self._placements = placements
        self._held = held

    def collect(self) -> Iterator[Metric]:
        """The metric families, in the order of the page."""
        placed = CounterMetricFamily(
            "forebay_gateway_placements",
            "Requests sent to a rank that is in the pool now; a pair counts for both.",
            labels=["pool", "rank"],
        )
        known = [
            (name, rank) for name in self._pools.names() if (pool := self._pools.get(name)) for rank in pool.view.ranks
        ]
        for gone in self._placements.keys() - known:
            del self._placements[gone]
        for pool_and_rank in known:
            placed.add_metric(pool_and_rank, self._placements[pool_and_rank])
        yield placed
        for name, count in self._held().items():
            yield GaugeMetricFamily(f"forebay_gateway_{name}", f"{name.replace('_', ' ').capitalize()} now.", count)
        yield GaugeMetricFamily("forebay_gateway_ready", "Whether the store was ever reached.", self._pools.ready)
        yield GaugeMetricFamily(
            "forebay_gateway_degraded", "Whether any pool goes on without the store.", self._pools.degraded
        )
        yield GaugeMetricFamily(
            "forebay_gateway_key_sharers",
            "Gateways among which limits of keys are shared out while the store is gone.",
            self._limits.gateways,
        )
        ages = GaugeMetricFamily(
            "forebay_gateway_snapshot_age_seconds", "Since the pool's ranks were last read.", labels=["pool"]
        )
        for name in self._pools.names():
            if pool := self._pools.get(name):
                ages.add_metric([name], pool.snapshot_age_s)
        yield ages
        yield self._left_out()
        yield from self._beliefs()
        events = CounterMetricFamily("forebay_scheduler_events", "What the scheduler counts.", labels=["event"])
        for event, count in sorted((self._limits.counters | Tally(self._pools.counters)).items()):
            events.add_metric([event], count)
        yield events

    def _left_out(self) -> Metric:
        text = "Whether a rank is left out since it failed, by its breaker or for want of a connection."
        left_out = GaugeMetricFamily("forebay_gateway_rank_left_out", text, labels=["pool", "rank"])
        for name in self._pools.names():
            if pool := self._pools.get(name):
                out = pool.left_out
                for rank in pool.view.ranks:
                    left_out.add_metric([name, rank], rank in out)
        return left_out

    def _beliefs(self) -> Iterator[Metric]:
        """What is believed of the ranks' prefix caches, by all gateways, and what their engines found."""
        labels = ["pool", "rank"]
        span = GaugeMetricFamily(
            "forebay_gateway_prefix_span_tokens",
            "For how many computed tokens a rank is believed to hold a block that it used.",
            labels=labels,
        )
        believed = CounterMetricFamily(
            "forebay_gateway_prefix_believed_tokens",
            "Of the prompts a rank has computed, what all gateways believed to be in its prefix cache; without blocks"
            " after which it had computed nothing, so a prompt repeated on an idle rank is found and not counted here.",
            labels=labels,
        )
        found = CounterMetricFamily(
            "forebay_gateway_prefix_found_tokens",
            "What a rank's engine has found in its prefix cache, or a KV connector had.",
            labels=labels,
        )
        for name in self._pools.names():
            for rank, view in (pool.view.ranks if (pool := self._pools.get(name)) else {}).items():
                if told := view.prefix_belief:
                    span.add_metric([name, rank], told.span_tokens)
                    believed.add_metric([name, rank], told.believed_tokens)
                    found.add_metric([name, rank], told.found_tokens)
        yield from (span, believed, found)
