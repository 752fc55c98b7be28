"""The options of `forebay simulate`. Pure."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from forebay.simulate.cases import Burst, Case, Gateways, Load, cases
from scheduler.settings import SchedulerSettings
from scheduler.store_url import parse_store_url, shown_url
from simulator.cluster.load import FleetCapacity, fleet_capacity
from simulator.cluster.peers.names import POLICY_NAMES
from simulator.cluster.request import BLOCK_TOKENS
from simulator.cluster.settings import FleetSettings
from simulator.settings import RankSettings
from simulator.timing import Timing, timing_of

MEMORY = "memory"
"""The store that is a dict in this process."""
DRAWN_REQUESTS = 10_000
DEFAULT_LOAD = 0.9
MOST_SEEDS = 1000

DEFAULT = FleetSettings()
RANK = RankSettings()
TIMING = (
    *("prefill_tokens_per_s", "prefill_step_ms", "attention_ms_per_million_pairs"),
    *("decode_step_ms", "decode_ms_per_seq"),
)
"""What the ranks of a fleet are as fast as `forebay rank` by."""

Ms = Annotated[float, Meta(ge=0, le=3.6e6)]
KvTokens = Annotated[int, Meta(ge=BLOCK_TOKENS, le=1 << 40)]


class FleetOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fleet. Speeds and sizes of a rank have the names they have at `forebay rank`."""

    prefill: Annotated[int, Meta(ge=0, le=100_000, description="prefill ranks")] = DEFAULT.prefill
    decode: Annotated[int, Meta(ge=0, le=100_000, description="decode ranks")] = DEFAULT.decode
    mixed: Annotated[int, Meta(ge=0, le=100_000, description="ranks that prefill and decode")] = DEFAULT.mixed
    dp_size: Annotated[int, Meta(ge=1, le=1024, description="ranks of one role that step together")] = DEFAULT.dp_size
    gateways: Annotated[Gateways, Meta(description="gateways; a request comes to any")] = DEFAULT.gateways
    max_num_seqs: Annotated[int, Meta(ge=1, le=1_000_000, description="sequences a rank runs at once")] = (
        DEFAULT.max_num_seqs
    )
    max_num_batched_tokens: Annotated[
        int, Meta(ge=1, le=1 << 26, description="tokens in one step; longer prefills are chunked")
    ] = DEFAULT.max_num_batched_tokens
    prefill_kv_capacity_tokens: Annotated[
        KvTokens, Meta(description="tokens a prefill rank's KV cache holds, those of earlier prompts included")
    ] = DEFAULT.prefill_kv_capacity_tokens
    kv_capacity_tokens: Annotated[KvTokens, Meta(description="the same for every other rank")] = (
        DEFAULT.kv_capacity_tokens
    )
    prefill_tokens_per_s: Annotated[
        float, Meta(ge=0.001, le=1e9, description="prefill rate, uncached tokens a second")
    ] = RANK.prefill_tokens_per_s
    prefill_step_ms: Annotated[Ms, Meta(description="base cost of a step that prefills")] = RANK.prefill_step_ms
    attention_ms_per_million_pairs: Annotated[
        Ms, Meta(description="cost of a million pairs of a prefilled token and one before it; 4 is as an 8B model")
    ] = RANK.attention_ms_per_million_pairs
    decode_step_ms: Annotated[Ms, Meta(description="base cost of a step that only decodes")] = RANK.decode_step_ms
    decode_ms_per_seq: Annotated[Ms, Meta(description="cost of each decoding sequence in a step")] = (
        RANK.decode_ms_per_seq
    )
    snapshot_ms: Annotated[int, Meta(ge=1, le=3_600_000, description="between two snapshots of a gateway")] = (
        DEFAULT.snapshot_ms
    )
    report_ms: Annotated[int, Meta(ge=1, le=3_600_000, description="between two reports of an agent")] = (
        DEFAULT.report_ms
    )
    report_late_ms: Annotated[int, Meta(ge=0, le=3_600_000, description="age of what an agent reports")] = (
        DEFAULT.report_late_ms
    )
    network_ms: Annotated[Ms, Meta(description="from a gateway to a rank, one way")] = DEFAULT.network_ms
    store_ms: Annotated[Ms, Meta(description="from a gateway or agent to the store and back")] = DEFAULT.store_ms
    outage_from_s: Annotated[float, Meta(ge=0, le=1e9, description="when the store stops to answer")] = (
        DEFAULT.outage_from_s
    )
    outage_s: Annotated[float, Meta(ge=0, le=1e9, description="for how long it answers nobody")] = DEFAULT.outage_s
    outage_empties: Annotated[bool, Meta(description="it has lost everything when it is back")] = DEFAULT.outage_empties
    silent_from_s: Annotated[float, Meta(ge=0, le=1e9, description="when agents stop to report")] = (
        DEFAULT.silent_from_s
    )
    silent_s: Annotated[float, Meta(ge=0, le=1e9, description="for how long nothing is heard of them")] = (
        DEFAULT.silent_s
    )
    silent_share: Annotated[
        float, Meta(ge=0, le=1, description="share of the nodes of each role, whose agents these are")
    ] = DEFAULT.silent_share

    def settings_of(self, case: Case, seed: int) -> FleetSettings:
        """The fleet of a case."""
        same = {name: getattr(self, name) for name in FleetSettings.__struct_fields__ if hasattr(self, name)}
        given = {"timing": self.timing, "gateways": case.gateways, "policy": case.policy, "seed": seed}
        return FleetSettings(**same | given)

    @property
    def timing(self) -> Timing:
        """What steps of a rank cost."""
        return timing_of(msgspec.structs.replace(RANK, **{name: getattr(self, name) for name in TIMING}))

    @property
    def capacity(self) -> FleetCapacity:
        """What it could do, if it were ideal."""
        return fleet_capacity(
            self.timing,
            prefilling=self.prefill + self.mixed,
            decoding=self.decode + self.mixed,
            max_num_seqs=self.max_num_seqs,
            cache_tokens=self.prefill * self.prefill_kv_capacity_tokens + self.mixed * self.kv_capacity_tokens,
        )


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
        Annotated[int, Meta(ge=1, le=100_000_000)] | None,
        Meta(description=f"requests of a run; without it the whole trace, or {DRAWN_REQUESTS} drawn"),
    ] = None
    skip: Annotated[int, Meta(ge=0, le=100_000_000, description="requests left out at the beginning")] = 0
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
        self._check_fleet()
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

    def _check_fleet(self) -> None:
        fleet = self.fleet
        if not fleet.mixed and not (fleet.prefill and fleet.decode):
            raise ValueError("decode: nothing serves without a mixed rank or both a prefill and a decode rank")
        if fleet.max_num_batched_tokens < fleet.max_num_seqs:
            raise ValueError("max_num_batched_tokens: less than max_num_seqs, of which each gets a token in a step")
        if not fleet.decode_step_ms + fleet.decode_ms_per_seq:
            raise ValueError("decode_step_ms: a step that decodes takes time, by this or by decode_ms_per_seq")
        self._check_absences()

    def _check_absences(self) -> None:
        """Nothing is said of an outage or a silence that lasts no time."""
        outage, silence = ("outage_from_s", "outage_empties"), ("silent_from_s", "silent_share")
        for what, length, others in (("outage", "outage_s", outage), ("silence", "silent_s", silence)):
            if getattr(self.fleet, length):
                continue
            if said := [name for name in others if getattr(self.fleet, name) != getattr(DEFAULT, name)]:
                raise ValueError(f"{said[0]}: there is no {what}, see {length}")

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
