"""What the metrics of several workers are together."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.families import Family, Sample, families_of, lasting, metrics_of, total_of, without_unknown_ranks


class Worker:
    """The metrics of one worker."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("requests", "Requests.", ["status"], registry=registry)
        self.seconds = Histogram("seconds", "Seconds.", ["pool"], buckets=(1, 2), registry=registry)
        self.open = Gauge("open", "Open.", registry=registry)
        self.ready = Gauge("forebay_gateway_ready", "Ready.", registry=registry)
        self.degraded = Gauge("forebay_gateway_degraded", "Degraded.", registry=registry)
        self.placements = Counter("placements", "Placements.", ["rank"], registry=registry)

    @property
    def families(self) -> tuple[Family, ...]:
        return families_of(self.registry.collect())


class Shown(Collector):
    def __init__(self, families: tuple[Family, ...]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return list(metrics_of(self._families))


def values(families: tuple[Family, ...]) -> dict[str, float]:
    """By the line's name and its labels' values, without the times since when they count."""
    return {
        " ".join((sample.name, *(value for _, value in sample.labels))): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def page(registry: CollectorRegistry) -> bytes:
    return generate_latest(registry)


def test_one_workers_page_is_the_page_it_would_show_itself() -> None:
    worker = Worker()
    worker.requests.labels("200").inc(3)
    worker.seconds.labels("sim").observe(1.5)
    shown = CollectorRegistry()
    shown.register(Shown(total_of([worker.families])))
    assert page(shown) == page(worker.registry)


def test_counters_histograms_and_what_is_held_add_up() -> None:
    first, second = Worker(), Worker()
    first.requests.labels("200").inc(2)
    second.requests.labels("200").inc(3)
    second.requests.labels("503").inc()
    first.seconds.labels("sim").observe(0.5)
    second.seconds.labels("sim").observe(1.5)
    second.seconds.labels("sim").observe(5)
    first.open.set(4)
    second.open.set(5)
    total = values(total_of([first.families, second.families]))
    assert (total["requests_total 200"], total["requests_total 503"], total["open"]) == (5, 1, 9)
    buckets = [total[f"seconds_bucket {bound} sim"] for bound in ("1.0", "2.0", "+Inf")]
    assert (buckets, total["seconds_count sim"], total["seconds_sum sim"]) == ([1, 2, 3], 3, 7)


def test_all_are_ready_only_if_each_is_and_degraded_if_any_is() -> None:
    first, second = Worker(), Worker()
    first.ready.set(1)
    first.degraded.set(1)
    total = values(total_of([first.families, second.families]))
    assert (total["forebay_gateway_ready"], total["forebay_gateway_degraded"]) == (0, 1)


def test_counters_count_since_the_first_worker_began() -> None:
    families = [
        (Family("n", "N.", "counter", (_sample("n_total", 1.0), _sample("n_created", created))),)
        for created in (7.0, 5.0)
    ]
    (family,) = total_of(families)
    assert [sample.value for sample in family.samples] == [2.0, 5.0]


def _sample(name: str, value: float) -> Sample:
    return Sample(name, (), value)


def test_of_a_worker_that_has_ended_the_counters_last_and_the_gauges_do_not() -> None:
    ended, living = Worker(), Worker()
    ended.requests.labels("200").inc(2)
    ended.open.set(4)
    living.requests.labels("200").inc()
    total = values(total_of([living.families, lasting(ended.families)]))
    assert (total["requests_total 200"], total["open"]) == (3, 0)


def test_what_ended_workers_placed_is_forgotten_with_the_rank() -> None:
    ended, living = Worker(), Worker()
    ended.placements.labels("here").inc(2)
    ended.placements.labels("gone").inc(3)
    ended.requests.labels("200").inc()
    living.placements.labels("here").inc(0)
    kept = values(without_unknown_ranks(ended.families, living.families))
    assert kept["placements_total here"] == 2
    assert kept["requests_total 200"] == 1
    assert "placements_total gone" not in kept


def test_no_rank_is_forgotten_while_the_living_know_none_yet() -> None:
    ended = Worker()
    ended.placements.labels("here").inc(2)
    assert without_unknown_ranks(ended.families, Worker().families) == ended.families
    assert without_unknown_ranks(ended.families, ()) == ended.families
