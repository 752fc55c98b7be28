"""The options of `forebay simulate` that say what is simulated: the fleet. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from forebay.simulate.cases import Case, Gateways
from simulator.cluster.load import FleetCapacity, fleet_capacity
from simulator.cluster.request import BLOCK_TOKENS
from simulator.cluster.settings import FleetSettings
from simulator.settings import RankSettings
from simulator.timing import Timing, timing_of

DEFAULT = FleetSettings()
RANK = RankSettings()
TIMING = (
    *("prefill_tokens_per_s", "prefill_step_ms", "attention_ms_per_million_pairs"),
    *("decode_step_ms", "decode_ms_per_seq"),
)
"""What the ranks of a fleet are as fast as `forebay rank` by."""

Ms = Annotated[float, Meta(ge=0, le=3.6e6)]
StepMs = Annotated[float, Meta(ge=0, le=10_000)]
"""Of slower ranks, nearly all that is simulated are their reports."""
Ranks = Annotated[int, Meta(ge=0, le=10_000)]
"""Of more, each report and snapshot takes seconds to simulate."""
KvTokens = Annotated[int, Meta(ge=BLOCK_TOKENS, le=1 << 40)]


class FleetOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fleet. Speeds and sizes of a rank have the names they have at `forebay rank`."""

    prefill: Annotated[Ranks, Meta(description="prefill ranks")] = DEFAULT.prefill
    decode: Annotated[Ranks, Meta(description="decode ranks")] = DEFAULT.decode
    mixed: Annotated[Ranks, Meta(description="ranks that prefill and decode")] = DEFAULT.mixed
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
    prefill_tokens_per_s: Annotated[float, Meta(ge=1, le=1e9, description="prefill rate, uncached tokens a second")] = (
        RANK.prefill_tokens_per_s
    )
    prefill_step_ms: Annotated[StepMs, Meta(description="base cost of a step that prefills")] = RANK.prefill_step_ms
    attention_ms_per_million_pairs: Annotated[
        StepMs, Meta(description="cost of a million pairs of a prefilled token and one before it; 4 is as an 8B model")
    ] = RANK.attention_ms_per_million_pairs
    decode_step_ms: Annotated[StepMs, Meta(description="base cost of a step that only decodes")] = RANK.decode_step_ms
    decode_ms_per_seq: Annotated[StepMs, Meta(description="cost of each decoding sequence in a step")] = (
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

    def __post_init__(self) -> None:
        """Raises ValueError naming the field."""
        self._check_ranks()
        if self.max_num_batched_tokens < self.max_num_seqs:
            raise ValueError("max_num_batched_tokens: less than --max-num-seqs, of which each gets a token in a step")
        if not self.decode_step_ms + self.decode_ms_per_seq:
            raise ValueError("decode_step_ms: a step that decodes takes time, by this or by --decode-ms-per-seq")
        self._check_absences()

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

    def _check_ranks(self) -> None:
        """Requests can be served, and no prefill rank stands by: pairs are made with decode ranks alone."""
        if not (self.prefill or self.decode or self.mixed):
            raise ValueError("mixed: the fleet has no rank, neither of these nor of --prefill and --decode")
        if self.prefill and not self.decode and self.mixed:
            raise ValueError("prefill: never used, for mixed ranks prefill for themselves, and there is no --decode")
        if self.prefill and not self.decode:
            raise ValueError("decode: no rank goes on with what the prefill ranks have prefilled")
        if not (self.prefill or self.mixed):
            raise ValueError("prefill: no rank prefills for the decode ranks")

    def _check_absences(self) -> None:
        """Nothing is said of an outage or a silence that lasts no time, or is of nobody."""
        outage, silence = ("outage_from_s", "outage_empties"), ("silent_from_s", "silent_share")
        for what, length, others in (("outage", "outage_s", outage), ("silence", "silent_s", silence)):
            if getattr(self, length):
                continue
            if said := [name for name in others if getattr(self, name) != getattr(DEFAULT, name)]:
                raise ValueError(f"{said[0]}: there is no {what}, see --{length.replace('_', '-')}")
        if self.silent_s and not self.silent_share:
            raise ValueError("silent_share: nobody would fall silent")
