"""The options of `forebay simulate`. Pure."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from forebay.simulate.cases import Burst, Case, Load, cases
from forebay.simulate.fleet_options import FleetOptions
from scheduler.settings import SchedulerSettings
from scheduler.store_url import parse_store_url, shown_url
from simulator.cluster.peers.names import POLICY_NAMES

MEMORY = "memory"
"""The store that is a dict in this process."""
DRAWN_REQUESTS = 10_000
MOST_REQUESTS = 10_000_000
DEFAULT_LOAD = 0.9
MOST_SEEDS = 1000


class SimulateSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is simulated, and what is made of it; each field's description is its help text."""

    trace: Annotated[
        str, Meta(description="file of a Mooncake or Azure trace; its first line says which, whatever its name")
    ] = ""
    workload: Annotated[
        Literal["poisson", "bursty", "shared_prefix", "multi_turn", "hot", "hottest"] | None,
        Meta(description="requests that are drawn, in place of a trace"),
    ] = None
    policy: Annotated[str, Meta(description=f"how gateways choose ranks: {', '.join(POLICY_NAMES)}")] = (
        SchedulerSettings().policy
    )
    load: Annotated[
        Load | None,
        Meta(
            description="share of what an ideal fleet with one shared prefix cache can do; "
            f"{DEFAULT_LOAD} unless clients ask"
        ),
    ] = None
    seeds: Annotated[str, Meta(description="such as 1-8 or 1,5; a run for each, figures are over all of them")] = "1-8"
    requests: Annotated[
        Annotated[int, Meta(ge=1, le=MOST_REQUESTS)] | None,
        Meta(description=f"requests of a run; without it the whole trace, or {DRAWN_REQUESTS} drawn"),
    ] = None
    skip: Annotated[int, Meta(ge=0, le=MOST_REQUESTS, description="requests left out at the beginning")] = 0
    burst: Annotated[Burst, Meta(description="requests from 40 to 50 % of a run come so many times as fast")] = 1.0
    clients: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)] | None,
        Meta(description="so many ask each when it has its last answer, whatever the load: for the throughput"),
    ] = None
    warm_up: Annotated[
        float, Meta(ge=0, lt=1, description="share of a run's requests, the first, that are not judged")
    ] = 0.1
    slo_scale: Annotated[
        float, Meta(gt=0, le=1e6, description="goodput's bounds: times 1 s + 2 x idle prefill, and 2 x idle TPOT")
    ] = 1.0
    store: Annotated[str, Meta(description="memory, or the URL of an empty Redis, which then runs the scripts")] = (
        MEMORY
    )
    processes: Annotated[int, Meta(ge=1, le=1024, description="processes that share the runs")] = 1
    sweep: Annotated[
        dict[str, str], Meta(description="policy=A/B, gateways=1/16, load=0.5/0.9, burst=1/2: each case of all")
    ] = {}
    plot: Annotated[str, Meta(description="file for a plot of TTFT, goodput and hits: .svg, or .png with Pillow")] = ""
    fleet: FleetOptions = FleetOptions()

    def __post_init__(self) -> None:
        """Raises ValueError naming the field."""
        if bool(self.trace) == bool(self.workload):
            raise ValueError("expected either --trace FILE or --workload NAME")
        if self.store != MEMORY:
            self._check_store()
        if self.plot and not re.search(r"[^/\\]\.(svg|png)$", self.plot):
            raise ValueError("plot: expected a file name that ends in .svg or .png")
        if self.clients and self.load is not None:
            raise ValueError("load: clients ask when they have their last answers, whatever the load")
        if self.clients and any(case.burst > 1 for case in self.cases):
            raise ValueError("burst: clients that wait for their answers do not come faster")
        if self.clients and "load" in self.sweep:
            raise ValueError("sweep: clients ask when they have their last answers, whatever the load")
        for case in self.cases:
            if case.policy not in POLICY_NAMES:
                raise ValueError(f"policy: there is none called {case.policy!r}; known: {', '.join(POLICY_NAMES)}")
        self.seed_numbers  # noqa: B018 - raises where there are none

    def _check_store(self) -> None:
        if self.processes > 1:
            raise ValueError("processes: runs on a Redis go one after the other, each needs it empty")
        try:
            parse_store_url(self.store)
        except ValueError as error:
            raise ValueError(f"store: expected {MEMORY} or a URL; {error}") from error

    @property
    def cases(self) -> list[Case]:
        """Every case of the sweep, or the only one."""
        load = DEFAULT_LOAD if self.load is None else self.load
        only = Case(policy=self.policy, gateways=self.fleet.gateways, load=load, burst=self.burst)
        return cases(only, self.sweep)

    @property
    def seed_numbers(self) -> tuple[int, ...]:
        """The seeds, in order of the text."""
        return seeds_of(self.seeds)

    @property
    def workload_name(self) -> str:
        """As the figures name it: of a trace the file's name, without its folder."""
        return self.workload or re.split(r"[/\\]", self.trace)[-1]

    @property
    def store_name(self) -> str:
        """As the figures name it, without a password."""
        return self.store if self.store == MEMORY else shown_url(self.store)


def seeds_of(text: str) -> tuple[int, ...]:
    """The seeds of a list of numbers and ranges, both ends included; raises ValueError."""
    seeds: list[int] = []
    for item in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,9})(?:-([0-9]{1,9}))?\s*", item)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not 0 <= last - first < MOST_SEEDS:
            raise ValueError(f"seeds: {item!r}: expected a number or a range such as 1-8, of at most {MOST_SEEDS}")
        seeds.extend(range(first, last + 1))
    if len(set(seeds)) != len(seeds):
        raise ValueError("seeds: each only once, or its run would count twice")
    return tuple(seeds)
