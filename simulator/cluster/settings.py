"""What a simulated fleet is made of. Pure."""

from __future__ import annotations

import msgspec

from scheduler.messages import Role
from simulator.cluster.absence import Absence
from simulator.cluster.rank_shape import RankShape
from simulator.cluster.request import BLOCK_TOKENS
from simulator.settings import RankSettings
from simulator.timing import Timing, timing_of


class FleetSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How many ranks of each role and how many gateways there are, and how they are connected.

    `prefill_kv_capacity_tokens` is what a prefill rank's KV cache holds, `kv_capacity_tokens` any other's.
    `dp_size` ranks of a role step together. Agents sample their ranks every `report_ms` and send that `report_late_ms`
    later; gateways read a snapshot every `snapshot_ms`. `network_ms` is from a gateway to a rank, one way, `store_ms`
    to the store and back.

    From `outage_from_s` on, for `outage_s`, the store answers nobody, and what it knew is lost if `outage_empties`;
    from `silent_from_s` on, for `silent_s`, no agent of a `silent_share` of the nodes says anything. Equal seeds give
    equal outcomes.
    """

    prefill: int = 8
    decode: int = 8
    mixed: int = 0
    dp_size: int = 1
    timing: Timing = timing_of(RankSettings())
    max_num_seqs: int = 64
    max_num_batched_tokens: int = 8192
    kv_capacity_tokens: int = 524_288
    prefill_kv_capacity_tokens: int = 524_288
    gateways: int = 1
    snapshot_ms: int = 250
    report_ms: int = 500
    report_late_ms: int = 0
    network_ms: float = 0.2
    store_ms: float = 0.5
    outage_from_s: float = 0.0
    outage_s: float = 0.0
    outage_empties: bool = False
    silent_from_s: float = 0.0
    silent_s: float = 0.0
    silent_share: float = 1.0
    policy: str = "forebay"
    seed: int = 1

    @property
    def outage(self) -> Absence:
        """When the store answers nobody."""
        return Absence(self.outage_from_s, self.outage_s)

    def silence(self, node: int, nodes: int) -> Absence:
        """When the agent of a role's node says nothing, of so many that the role has: the first ones are silent."""
        return Absence(self.silent_from_s, self.silent_s if node < self.silent_share * nodes else 0.0)

    @property
    def counts(self) -> dict[Role, int]:
        """Ranks by role."""
        return {Role.PREFILL: self.prefill, Role.DECODE: self.decode, Role.MIXED: self.mixed}

    def shape_of(self, role: Role) -> RankShape:
        """What a rank of that role is like."""
        kv_tokens = self.prefill_kv_capacity_tokens if role is Role.PREFILL else self.kv_capacity_tokens
        return RankShape(
            timing=self.timing,
            max_num_seqs=self.max_num_seqs,
            max_num_batched_tokens=self.max_num_batched_tokens,
            kv_blocks=kv_tokens // BLOCK_TOKENS,
            block_tokens=BLOCK_TOKENS,
        )
